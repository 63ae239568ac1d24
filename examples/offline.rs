//! The offline upstream on a plain TCP port, for clients that take a base URL.
//!
//! ```text
//! cargo run --example offline -- 127.0.0.1:8099 &
//! ANTHROPIC_BASE_URL=http://127.0.0.1:8099 ANTHROPIC_API_KEY=sk-ant-dummy claude -p "say hi"
//! ```
//!
//! Speaks HTTP/1.1, and HTTP/2 to clients that begin with its preface.

use divulge::offline::{Version, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let mut first = [0; 3];
            let peeked = stream.peek(&mut first).await?;
            // "PRI * HTTP/2.0" (RFC 9113, 3.4); no HTTP/1.1 method begins so.
            let version = if first[..peeked] == *b"PRI" { Version::Http2 } else { Version::Http1 };
            if let Err(error) = serve(stream, "localhost".to_owned(), version).await {
                eprintln!(
                    "{error}: {}",
                    std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
                );
            }
            Ok::<_, std::io::Error>(())
        });
    }
}
