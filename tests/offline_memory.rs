//! The offline upstream under large bodies. Alone in its process, since it measures the process.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use divulge::offline::{Version, serve};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::duplex;

/// A body made up as it is read.
struct Generated {
    left: usize,
}

impl Body for Generated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b'x'; 64 * 1024];
        const HEAD: &[u8] = br#"{"model":"m","messages":[""#;
        Poll::Ready(match self.left {
            0 => None,
            1 => {
                self.left = 0;
                Some(Ok(Frame::data(Bytes::from_static(b"\"]}"))))
            }
            usize::MAX => {
                self.left = 32 * 1024 * 1024;
                Some(Ok(Frame::data(Bytes::from_static(HEAD))))
            }
            left => {
                let piece = PIECE.len().min(left - 1);
                self.left -= piece;
                Some(Ok(Frame::data(Bytes::from_static(&PIECE[..piece]))))
            }
        })
    }
}

/// The most memory this process ever held, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_body_of_32_mib_is_read_in_flat_memory() {
    let before = peak_memory();
    for (version, path) in
        [(Version::Http1, "/v1/messages"), (Version::Http2, "/v1/messages"), (Version::Http1, "/log")]
    {
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(serve(theirs, "api.example.com".to_owned(), version));
        let uri = format!("https://api.example.com{path}");
        let asked = Request::post(uri).body(Generated { left: usize::MAX }).unwrap();
        let io = TokioIo::new(ours);
        let answer = if version == Version::Http1 {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(asked).await.unwrap()
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(asked).await.unwrap()
        };
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        if path == "/v1/messages" {
            let message: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert!(message["usage"]["input_tokens"].as_u64().unwrap() > 8_000_000, "the whole body was read");
        }
    }
    let grown = peak_memory() - before;
    assert!(grown < 16 * 1024, "{grown} KiB more at the peak");
}
