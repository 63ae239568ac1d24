//! The fuzz targets without a fuzzer: the saved inputs and some thousand mutations of them
//! (`DIVULGE_FUZZ_MUTATIONS=1000000` for more).

#[path = "../fuzz/captures.rs"]
mod captures;
#[path = "../fuzz/decoders.rs"]
#[allow(dead_code)]
mod decoders;
#[path = "../fuzz/entries.rs"]
mod entries;
#[path = "../fuzz/remembered.rs"]
mod remembered;
#[path = "../fuzz/restorer.rs"]
mod restorer;

use std::path::Path;

/// A small deterministic source of choices (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// The saved inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{}: too few inputs", folder.display());
    inputs
}

fn mutated(inputs: &[(String, Vec<u8>)], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = inputs[dice.below(inputs.len())].1.clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(12)).min(bytes.len());
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.insert(at, b"\r\n \t:;,0\0\xff"[dice.below(10)]),
            3 => {
                bytes.drain(at..end);
            }
            4 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let other = &inputs[dice.below(inputs.len())].1;
                let from = dice.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// `DIVULGE_FUZZ_MUTATIONS` asks for more than a test run takes time for.
fn mutations(few: usize) -> usize {
    std::env::var("DIVULGE_FUZZ_MUTATIONS").ok().and_then(|number| number.parse().ok()).unwrap_or(few)
}

fn run(target: &str, entry: fn(&[u8]), name: &str, bytes: &[u8]) {
    let outcome = std::panic::catch_unwind(|| entry(bytes));
    assert!(outcome.is_ok(), "{target}, {name}: fails on b\"{}\"", bytes.escape_ascii());
}

fn mutate(target: &str, entry: fn(&[u8]), inputs: &[(String, Vec<u8>)], few: usize) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for number in 0..mutations(few) {
        run(target, entry, &format!("mutation {number}"), &mutated(inputs, &mut dice));
    }
}

fn replay(target: &str, entry: fn(&[u8])) {
    let inputs = corpus(target);
    for (name, bytes) in &inputs {
        // Under every cut, whatever the saved one.
        for cut in 0..64 {
            let mut bytes = bytes.clone();
            if let Some(byte) = bytes.get_mut(1) {
                *byte = cut;
            }
            run(target, entry, name, &bytes);
        }
    }
    mutate(target, entry, &inputs, 10_000);
}

/// Decoders take more time for each input.
fn replay_decoder(target: &str, entry: fn(&[u8])) {
    let inputs = corpus(target);
    for (name, bytes) in &inputs {
        run(target, entry, name, bytes);
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 40) {
            run(target, entry, &format!("{name} cut at {end}"), &bytes[..end]);
        }
    }
    mutate(target, entry, &inputs, 2500);
}

#[test]
fn request_heads_hold() {
    replay("request_head", entries::request_head);
}

#[test]
fn response_heads_hold() {
    replay("response_head", entries::response_head);
}

#[test]
fn bodies_hold() {
    replay("body", entries::body);
}

#[test]
fn websocket_messages_hold() {
    replay("websocket", entries::websocket);
}

#[test]
fn envelopes_and_lines_hold() {
    replay("envelope", entries::envelope);
}

#[test]
fn frames_of_http2_clients_hold() {
    replay("http2_client", entries::http2_client);
}

#[test]
fn json_is_read_as_serde_json_reads_it() {
    replay_decoder("json", decoders::json);
}

#[test]
fn encodings_in_text_hold() {
    replay_decoder("text", decoders::text);
}

#[test]
fn compression_holds() {
    replay_decoder("compression", decoders::compression);
}

#[test]
fn heads_and_forms_hold() {
    replay_decoder("decode_head", decoders::head);
}

#[test]
fn parts_hold() {
    replay_decoder("multipart", decoders::multipart);
}

#[test]
fn lines_events_and_items_hold() {
    replay_decoder("lines", decoders::lines);
}

#[test]
fn protobuf_is_read_as_prost_writes_it() {
    replay_decoder("protobuf", decoders::protobuf);
}

#[test]
fn msgpack_is_read_as_rmpv_reads_it() {
    replay_decoder("msgpack", decoders::msgpack);
}

#[test]
fn envelopes_inside_hold() {
    replay_decoder("frames", decoders::frames);
}

#[test]
fn event_streams_hold() {
    replay_decoder("event_stream", decoders::event_stream);
}

#[test]
fn whole_walks_hold() {
    replay_decoder("walk", decoders::walk);
}

#[test]
fn audits_hold() {
    replay_decoder("audit", decoders::audit);
}

#[test]
fn restored_answers_hold() {
    replay("restore", restorer::restore);
}

#[test]
fn captures_hold() {
    replay_decoder("capture", captures::capture);
}

#[test]
fn what_is_remembered_changes_nothing() {
    let inputs = corpus("remembered");
    inputs.iter().for_each(|(name, bytes)| run("remembered", remembered::remembered, name, bytes));
    mutate("remembered", remembered::remembered, &inputs, 150);
}
