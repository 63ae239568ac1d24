//! What must hold of captures of any format for any bytes: no panic, no hang, no more out of a file than is in it, and
//! what is exported is well formed.

use bytes::Bytes;
use divulge::session::curl::curl;
use divulge::session::flow::Exchange;
use divulge::session::raw::{self, Captured};
use divulge::session::{Format, har};

/// The format is told from the bytes, as it is for files.
pub fn capture(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let Some(format) = Format::sniff(&file) else { return };
    let mut all: Vec<Exchange> = Vec::new();
    let damages = format.read(&file, b"", &mut |exchange| all.push(exchange));
    for damage in &damages {
        assert!(!damage.reason.is_empty(), "a damage says what it is");
        assert!(damage.offset <= file.len() as u64, "{damage}");
    }
    let bytes: usize = all.iter().map(|one| one.request.body.len()).sum();
    // Of packets one byte may stand for many; forms are spelled out again.
    let most = if format == Format::Pcap { usize::MAX } else { file.len() * 4 + 4096 };
    assert!(bytes <= most, "{bytes} bytes of bodies out of {}", file.len());
    let archive = har::write(&all, &har::around(&file));
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&archive).is_ok(), "what is exported is no JSON");
    let mut again = 0;
    har::read(&archive.into(), &mut |_| again += 1);
    assert!(again <= all.len());
    for exchange in &all {
        let _ = (exchange.request(), exchange.parts().len());
        if let Ok(made) = curl(exchange) {
            assert!(made.command.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\n'));
        }
        let _ = Captured::read(raw::write(exchange).into());
    }
}
