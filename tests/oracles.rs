//! Decoders beside the libraries that others encode with, on documents that they made.

#[path = "../fuzz/decoders.rs"]
#[allow(dead_code)]
mod decoders;

use decoders::Sample;
use divulge::engine::codec;
use proptest::prelude::*;

fn sample() -> impl Strategy<Value = Sample> {
    let text = || prop_oneof!["[a-z]{0,15}", "[A-Za-z0-9/_.: -]{0,60}", "\\PC{0,20}", "[\\n\\r\\t !-~]{0,40}"];
    let bytes = prop::collection::vec(any::<u8>(), 0..70);
    let leaf =
        (text(), bytes, any::<u64>(), prop::collection::vec(text(), 0..4), prop::collection::vec(any::<u32>(), 0..9));
    let numbers = (any::<f64>(), any::<u32>());
    let leaf = (leaf, numbers).prop_map(|((text, bytes, number, texts, packed), (double, fixed))| Sample {
        text,
        bytes,
        number,
        inner: None,
        texts,
        packed,
        double,
        fixed,
    });
    leaf.prop_recursive(4, 12, 2, |inner| {
        (inner.clone(), inner).prop_map(|(outer, inner)| Sample { inner: Some(Box::new(inner)), ..outer })
    })
}

proptest! {
    #[test]
    fn what_prost_writes_is_read_where_it_stands(sample in sample()) {
        decoders::holds_of(&prost::Message::encode_to_vec(&sample), &sample);
    }

    /// Whatever the library, its level and how it was fed.
    #[test]
    fn what_is_compressed_comes_back(
        parts in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"{}\":, abcdefgh\n\xff"[..]), 0..400), 1..5),
        level in 0u32..10,
    ) {
        use std::io::Write;
        let level = flate2::Compression::new(level);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), level);
        let mut members = Vec::new();
        for part in &parts {
            zlib.write_all(part).unwrap();
            zlib.flush().unwrap();
            deflate.write_all(part).unwrap();
            let mut member = flate2::GzBuilder::new().filename("a").comment("b").extra("c").write(&mut members, level);
            member.write_all(part).unwrap();
            member.finish().unwrap();
        }
        let content = parts.concat();
        for (coding, coded) in [
            ("zlib", zlib.finish().unwrap()),
            ("deflate", deflate.finish().unwrap()),
            ("gzip", members),
            ("zstd", parts.iter().flat_map(|part| zstd::encode_all(&part[..], 3).unwrap()).collect()),
        ] {
            let ours = codec::decompress(coding, &coded, usize::MAX, usize::MAX).unwrap();
            prop_assert_eq!((&ours.content, ours.stop, ours.consumed), (&content, None, coded.len()), "{}", coding);
            // Cut anywhere, what comes out is a beginning of it, and that there was more is said.
            let cut = coded.len() / 2;
            let ours = codec::decompress(coding, &coded[..cut], usize::MAX, usize::MAX).unwrap();
            prop_assert!(content.starts_with(&ours.content), "{}", coding);
            prop_assert!(ours.stop.is_some() || ours.content.len() < content.len() || content.is_empty(), "{}", coding);
        }
    }
}
