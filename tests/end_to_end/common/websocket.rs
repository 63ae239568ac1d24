//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), context kept on both sides; either role.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::wire::Wire;

/// One side of a WebSocket.
pub struct WebSocket {
    pub wire: Wire,
    client: bool,
    deflate: Option<Deflate>,
}

struct Deflate {
    out: Compress,
    inward: Decompress,
}

/// One frame as it came, unmasked.
#[derive(Debug)]
pub struct Frame {
    /// FIN, RSV and the opcode.
    pub first: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

impl WebSocket {
    pub fn new(wire: Wire, client: bool, deflate: bool) -> Self {
        let deflate = deflate
            .then(|| Deflate { out: Compress::new(Compression::default(), false), inward: Decompress::new(false) });
        Self { wire, client, deflate }
    }

    /// Sends one text message in one frame, compressed where that was agreed on.
    pub async fn send(&mut self, text: &str) -> bool {
        let (first, payload) = match &mut self.deflate {
            None => (0x81, text.as_bytes().to_vec()),
            Some(deflate) => (0xC1, deflate.compress(text.as_bytes())),
        };
        self.send_frame(first, &payload).await
    }

    /// Sends one frame as it is.
    pub async fn send_frame(&mut self, first: u8, payload: &[u8]) -> bool {
        let bytes = frame(first, payload, self.client);
        self.wire.send(bytes).await
    }

    /// One frame as it came; none at the end.
    pub async fn frame(&mut self) -> Option<Frame> {
        let head = self.wire.exactly(2).await;
        let [first, second] = head.try_into().ok()?;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.wire.exactly(2).await.try_into().ok()?)),
            127 => u64::from_be_bytes(self.wire.exactly(8).await.try_into().ok()?),
            short => u64::from(short),
        };
        let masked = second & 0x80 != 0;
        let mask = if masked { self.wire.exactly(4).await } else { vec![0; 4] };
        let mut payload = self.wire.exactly(usize::try_from(length).ok()?).await;
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask.get(index % 4)?;
        }
        Some(Frame { first, masked, payload })
    }

    /// The next message in one frame, as text; none at the end or a close frame.
    pub async fn message(&mut self) -> Option<String> {
        loop {
            let frame = self.frame().await?;
            match frame.first & 0x0f {
                1 | 2 => {}
                8 => return None,
                _ => continue,
            }
            let compressed = frame.first & 0x40 != 0;
            let payload = match &mut self.deflate {
                Some(deflate) if compressed => deflate.decompress(&frame.payload),
                _ => frame.payload,
            };
            return Some(String::from_utf8_lossy(&payload).into_owned());
        }
    }
}

impl Deflate {
    fn compress(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + 64);
        self.out.compress_vec(data, &mut out, FlushCompress::Sync).expect("deflate takes any bytes");
        out.truncate(out.len() - 4);
        out
    }

    fn decompress(&mut self, data: &[u8]) -> Vec<u8> {
        let mut input = data.to_vec();
        input.extend([0, 0, 0xff, 0xff]);
        let mut out = Vec::with_capacity(data.len() * 8 + 4096);
        let start = self.inward.total_in();
        loop {
            let done = usize::try_from(self.inward.total_in() - start).unwrap();
            if done >= input.len() {
                return out;
            }
            out.reserve(4096);
            self.inward
                .decompress_vec(&input[done..], &mut out, FlushDecompress::Sync)
                .expect("the message is deflated with the context of those before it");
        }
    }
}

/// A frame on the wire, masked if a client sends it.
pub fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let flag = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..=125 => bytes.push(flag | length as u8),
        length @ ..=0xffff => {
            bytes.push(flag | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(flag | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        bytes.extend(payload);
    }
    bytes
}

/// The request of a client that offers permessage-deflate, or not.
pub fn upgrade_request(path: &str, deflate: bool) -> String {
    let extensions =
        if deflate { "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" } else { "" };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n",
        super::HOST
    )
}

/// The answer to [`upgrade_request`]; the key is RFC 6455's example, so its digest is too.
pub fn upgrade_answer(deflate: bool) -> String {
    let extensions = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extensions}\r\n"
    )
}
