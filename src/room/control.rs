//! What is said between divulge and the first process of a room: messages of JSON with their length before them, and
//! descriptors beside them (`SCM_RIGHTS`).

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::step::Step;

/// Most descriptors of one message: the doors at the usual ports, and a few more.
const MOST_DESCRIPTORS: usize = 64;
/// Far more than a layout takes.
const MOST_BYTES: u32 = 16 * 1024 * 1024;

/// From divulge to the room.
#[derive(Debug, Deserialize, Serialize)]
pub enum Order {
    Build(Box<Layout>),
    /// The maps of users that only the parent may write are written.
    Mapped,
    Run(Launch),
    /// To the command, the number of a signal.
    Signal(i32),
    /// Ends everything but the first process.
    EndAll,
}

/// A command to run. Its standard input, output and error come beside it, unless it gets a terminal.
#[derive(Debug, Deserialize, Serialize)]
pub struct Launch {
    pub id: u64,
    pub command: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    /// A terminal of its own, whose other end comes back.
    pub terminal: bool,
    /// Keeps the session of divulge, and so its terminal.
    pub attached: bool,
}

/// From the room to divulge.
#[derive(Debug, Deserialize, Serialize)]
pub enum Told {
    /// Users are to be mapped from outside: only there is the right to it.
    MapMe,
    /// There is no namespace of users to map.
    NoMap,
    /// With the sockets.
    Ready(Opened),
    Failed(Step),
    /// With the other end of the terminal, where one was asked for.
    Started {
        id: u64,
    },
    Ended {
        id: u64,
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// What the sockets are, in this order: the explicit proxy, the doors, the resolvers, the tap.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Opened {
    pub doors: usize,
    /// Connections are redirected, and the kernel is asked where they were meant to go.
    pub translated: bool,
    pub resolvers: usize,
    pub tap: bool,
    /// What this kernel could not give, a sentence each.
    pub missing: Vec<String>,
}

/// Sends one message and copies of `descriptors`.
pub fn send<T: Serialize>(mut stream: &UnixStream, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&length)], &mut beside, SendFlags::NOSIGNAL)?;
    stream.write_all(&length[sent..])?;
    stream.write_all(&body)
}

/// Waits for one message.
pub fn receive<T: DeserializeOwned>(mut stream: &UnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut length = [0u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(stream, &mut [IoSliceMut::new(&mut length)], &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    if received == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(list) = message {
            descriptors.extend(list);
        }
    }
    stream.read_exact(&mut length[received..])?;
    let length = u32::from_be_bytes(length);
    if length > MOST_BYTES {
        return Err(io::Error::other("a message of the room is longer than any can be"));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok((serde_json::from_slice(&body).map_err(io::Error::other)?, descriptors))
}
