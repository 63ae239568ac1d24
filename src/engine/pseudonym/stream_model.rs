//! Streams of the four families as servers write them, and as clients read them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::Family;

/// A piece of one of the texts of an answer: text 0 and 1, arguments 2 and 3.
pub type Piece = (usize, String);

/// `text` in pieces of `size` characters.
pub fn pieces(place: usize, text: &str, size: usize) -> Vec<Piece> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(size.max(1)).map(|piece| (place, piece.iter().collect())).collect()
}

/// Takes from each list in turn.
pub fn interleaved(lists: &[Vec<Piece>]) -> Vec<Piece> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at).cloned())).collect()
}

/// How a stream is written.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub line_end: &'static str,
    pub pings: bool,
    /// Data over two lines, a line break after the first comma.
    pub lines: bool,
    pub ascii: bool,
}

pub const PLAIN: Manner = Manner { line_end: "\n", pings: false, lines: false, ascii: false };

/// The documents of a stream.
pub fn documents(family: Family, pieces: &[Piece]) -> Vec<Value> {
    let mut out = Vec::new();
    match family {
        Family::Anthropic => {
            out.push(json!({"type": "message_start", "message": {"id": "msg_1", "content": []}}));
            for place in 0..4 {
                let block = match place {
                    0 | 1 => json!({"type": "text", "text": ""}),
                    _ => json!({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}),
                };
                out.push(json!({"type": "content_block_start", "index": place, "content_block": block}));
            }
            for (place, text) in pieces {
                let delta = match place {
                    0 | 1 => json!({"type": "text_delta", "text": text}),
                    _ => json!({"type": "input_json_delta", "partial_json": text}),
                };
                out.push(json!({"type": "content_block_delta", "index": place, "delta": delta}));
            }
            out.extend((0..4).map(|place| json!({"type": "content_block_stop", "index": place})));
            out.push(
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
            );
            out.push(json!({"type": "message_stop"}));
        }
        Family::Chat => {
            let chunk = |choice: usize, delta: Value, finish: Value| {
                json!({"id": "c-1", "object": "chat.completion.chunk", "created": 1.50e9, "model": "m",
                    "choices": [{"index": choice, "delta": delta, "finish_reason": finish}]})
            };
            out.push(chunk(0, json!({"role": "assistant", "content": ""}), Value::Null));
            for (place, text) in pieces {
                out.push(match place {
                    0 | 1 => chunk(*place, json!({"content": text}), Value::Null),
                    _ => chunk(
                        0,
                        json!({"tool_calls": [{"index": place - 2, "function": {"arguments": text}}]}),
                        Value::Null,
                    ),
                });
            }
            out.push(chunk(1, json!({}), json!("stop")));
            out.push(chunk(0, json!({}), json!("tool_calls")));
        }
        Family::Responses => {
            out.push(json!({"type": "response.created", "response": {"id": "r", "output": []}}));
            let mut texts = [const { String::new() }; 4];
            for (place, text) in pieces {
                texts[*place] += text;
                out.push(match place {
                    0 | 1 => json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": place, "delta": text, "logprobs": []}),
                    _ => json!({"type": "response.function_call_arguments.delta", "item_id": "f", "output_index": place, "delta": text}),
                });
            }
            for (place, text) in texts.iter().enumerate().take(2) {
                out.push(json!({"type": "response.output_text.done", "item_id": "i", "output_index": 0, "content_index": place, "text": text}));
                out.push(json!({"type": "response.content_part.done", "item_id": "i", "output_index": 0, "content_index": place, "part": {"type": "output_text", "text": text}}));
            }
            let item = json!({"type": "message", "id": "i", "content": [{"type": "output_text", "text": texts[0]}, {"type": "output_text", "text": texts[1]}]});
            out.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
            let mut items = vec![item];
            for (place, text) in texts.iter().enumerate().skip(2) {
                let item = json!({"type": "function_call", "id": "f", "arguments": text});
                out.push(json!({"type": "response.function_call_arguments.done", "item_id": "f", "output_index": place, "arguments": text}));
                out.push(json!({"type": "response.output_item.done", "output_index": place, "item": item}));
                items.push(item);
            }
            out.push(json!({"type": "response.completed", "response": {"id": "r", "output": items}}));
            for (number, event) in out.iter_mut().enumerate() {
                event["sequence_number"] = number.into();
            }
        }
        Family::Gemini => {
            let chunk = |place: usize, parts: Value| json!({"candidates": [{"index": place, "content": {"role": "model", "parts": parts}}], "modelVersion": "m"});
            let mut arguments = [const { String::new() }; 2];
            for (place, text) in pieces {
                match place {
                    0 | 1 => out.push(chunk(*place, json!([{"text": text}]))),
                    _ => arguments[place - 2] += text,
                }
            }
            for text in arguments.iter().filter(|text| !text.is_empty()) {
                let args: Value = serde_json::from_str(text).unwrap_or(Value::Null);
                out.push(chunk(
                    0,
                    json!([{"functionCall": {"name": "shell", "args": args}, "thoughtSignature": "c2ln"}]),
                ));
            }
            for place in 0..2 {
                let mut last = chunk(place, json!([]));
                last["candidates"][0]["finishReason"] = "STOP".into();
                out.push(last);
            }
        }
    }
    out
}

pub fn stream(family: Family, pieces: &[Piece], manner: Manner) -> String {
    let (mut out, end) = (String::new(), manner.line_end);
    for (number, document) in documents(family, pieces).iter().enumerate() {
        if manner.pings && number % 2 == 1 {
            write!(out, ": keep-alive{end}{end}event: ping{end}data: {{\"type\": \"ping\"}}{end}{end}").unwrap();
        }
        if let Some(name) = document["type"].as_str() {
            write!(out, "event: {name}{end}").unwrap();
        }
        let mut data = document.to_string();
        if manner.ascii {
            let mut units = [0; 2];
            let spelled = data.chars().map(|c| match c.is_ascii() {
                true => c.to_string(),
                false => c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            });
            data = spelled.collect();
        }
        if manner.lines {
            // Between members only: after a comma that follows a closed value.
            data = data.replacen("\",\"", &format!("\",{end}data: \""), 1);
        }
        write!(out, "data: {data}{end}{end}").unwrap();
    }
    if family == Family::Chat {
        write!(out, "data: [DONE]{end}{end}").unwrap();
    }
    out
}

/// The data of all events, by a reader that knows nothing of the one tested.
pub fn read(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap().replace("\r\n", "\n").replace('\r', "\n");
    let events = text.split("\n\n").filter_map(|event| {
        let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        (!data.is_empty() && data != ["[DONE]"]).then(|| data.join("\n"))
    });
    events.map(|data| serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

/// The four texts as a client puts them together, and the copies of them that came whole.
pub fn heard(family: Family, events: &[Value]) -> (BTreeMap<u64, String>, Vec<String>) {
    let (mut texts, mut copies) = (BTreeMap::<u64, String>::new(), Vec::new());
    let mut closed: Vec<u64> = Vec::new();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mut add = |place: u64, text: &Value, closed: &[u64]| {
        if let Some(text) = text.as_str() {
            assert!(!closed.contains(&place) || text.is_empty(), "text {place} goes on after its end");
            texts.entry(place).or_default().push_str(text);
        }
    };
    for (at, event) in events.iter().enumerate() {
        match family {
            Family::Anthropic => match event["type"].as_str().unwrap() {
                "content_block_delta" => {
                    add(number(&event["index"]), &event["delta"]["text"], &closed);
                    add(number(&event["index"]), &event["delta"]["partial_json"], &closed);
                }
                "content_block_stop" => closed.push(number(&event["index"])),
                _ => {}
            },
            Family::Chat => {
                for choice in event["choices"].as_array().into_iter().flatten() {
                    add(number(&choice["index"]), &choice["delta"]["content"], &closed);
                    for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                        add(number(&call["index"]) + 2, &call["function"]["arguments"], &closed);
                    }
                    if !choice["finish_reason"].is_null() {
                        closed.extend(if number(&choice["index"]) == 0 { vec![0, 2, 3] } else { vec![1] });
                    }
                }
            }
            Family::Responses => {
                let kind = event["type"].as_str().unwrap();
                if kind == "ping" {
                    continue;
                }
                let (output, part) = (number(&event["output_index"]), number(&event["content_index"]));
                let place = if output == 0 { part } else { output };
                if kind.ends_with(".delta") {
                    add(place, &event["delta"], &closed);
                } else if kind.ends_with("text.done") || kind.ends_with("arguments.done") {
                    closed.push(place);
                }
                for name in ["text", "arguments"] {
                    copies.extend(event[name].as_str().map(str::to_owned));
                    copies.extend(event["part"][name].as_str().map(str::to_owned));
                }
                let items = event["response"]["output"].as_array().into_iter().flatten();
                for item in items.chain(event.get("item")) {
                    copies.extend(item["arguments"].as_str().map(str::to_owned));
                    for part in item["content"].as_array().into_iter().flatten() {
                        copies.extend(part["text"].as_str().map(str::to_owned));
                    }
                }
                let numbers = events[..=at].iter().filter(|event| event["type"] != "ping").count() as u64;
                assert_eq!(event["sequence_number"], numbers - 1, "numbers follow each other");
            }
            Family::Gemini => {
                for candidate in event["candidates"].as_array().into_iter().flatten() {
                    let place = number(&candidate["index"]);
                    for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
                        add(place, &part["text"], &closed);
                        if let Some(call) = part.get("functionCall") {
                            copies.push(call["args"].to_string());
                        }
                    }
                    if !candidate["finishReason"].is_null() {
                        closed.push(place);
                    }
                }
            }
        }
    }
    (texts, copies)
}
