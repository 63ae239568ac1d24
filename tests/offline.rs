//! The offline upstream as clients see it: every API family over HTTP/1.1 and HTTP/2, WebSockets over both.
//!
//! The client is hyper, so the framing is checked by other hands; WebSocket frames are written out byte by byte.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use divulge::offline::{GREETING, Version, serve};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

type Sent = BoxBody<Bytes, Infallible>;
type Fields<'a> = &'a [(&'a str, &'a str)];

/// One connection to the upstream, answered as `host`. The pipe is narrow on purpose: answers wait for their reader.
fn connect(host: &str, version: Version) -> DuplexStream {
    let (ours, theirs) = duplex(1024);
    tokio::spawn(serve(theirs, host.to_owned(), version));
    ours
}

async fn send(version: Version, host: &str, request: Request<Sent>) -> Response<Incoming> {
    let io = TokioIo::new(connect(host, version));
    match version {
        Version::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
        Version::Http2 => {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    }
}

fn request(
    version: Version,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Sent> {
    let uri = if version == Version::Http2 { format!("https://api.example.com{path}") } else { path.to_owned() };
    let mut request = Request::builder().method(method).uri(uri);
    if version == Version::Http1 {
        request = request.header("host", "api.example.com");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into()).boxed()).unwrap()
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The events of a stream: name (or nothing) and document. `[DONE]` stays text.
    fn events(&self) -> Vec<(String, Value)> {
        assert!(self.header("content-type").starts_with("text/event-stream"));
        let text = self.text.replace("\r\n", "\n");
        let events = text.strip_suffix("\n\n").expect("a stream ends with a whole event").split("\n\n");
        events
            .map(|event| {
                let (name, data) = match event.split_once('\n') {
                    Some((name, data)) => (name.strip_prefix("event: ").unwrap(), data),
                    None => ("", event),
                };
                let data = data.strip_prefix("data: ").unwrap();
                (name.to_owned(), serde_json::from_str(data).unwrap_or_else(|_| Value::from(data)))
            })
            .collect()
    }
}

async fn ask(version: Version, host: &str, request: Request<Sent>) -> Answer {
    let (head, body) = send(version, host, request).await.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: head.status, headers: head.headers, text }
}

async fn post(path: &str, body: &Value) -> Answer {
    let headers = &[("content-type", "application/json")];
    let first =
        ask(Version::Http1, "api.example.com", request(Version::Http1, "POST", path, headers, body.to_string())).await;
    let second =
        ask(Version::Http2, "api.example.com", request(Version::Http2, "POST", path, headers, body.to_string())).await;
    assert_eq!(first.status, second.status, "both versions answer {path} alike");
    assert_eq!(first.text.len(), second.text.len(), "both versions answer {path} alike");
    second
}

fn joined(events: &[(String, Value)], pointer: &str) -> String {
    events.iter().filter_map(|(_, data)| data.pointer(pointer)?.as_str()).collect()
}

#[tokio::test]
async fn anthropic_messages_stream_their_events_in_order() {
    let answer = post("/v1/messages?beta=true", &json!({"model": "claude-x", "messages": [], "stream": true})).await;
    let events = answer.events();
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    for (name, data) in &events {
        assert_eq!(data["type"], **name, "an event is named after its type");
    }
    assert_eq!(joined(&events, "/delta/text"), GREETING);
    assert_eq!(events[0].1["message"]["model"], "claude-x");
    assert_eq!(events[0].1["message"]["stop_reason"], Value::Null);
    assert_eq!(events[events.len() - 2].1["delta"]["stop_reason"], "end_turn");
    assert!(answer.header("request-id").starts_with("req_"));
}

#[tokio::test]
async fn anthropic_answers_whole_messages_and_counts_tokens() {
    let whole = post("/v1/messages", &json!({"model": "claude-x", "messages": []})).await.json();
    assert_eq!(whole["content"], json!([{"type": "text", "text": GREETING}]));
    assert_eq!((&whole["type"], &whole["stop_reason"]), (&json!("message"), &json!("end_turn")));
    assert!(whole["usage"]["input_tokens"].as_u64().unwrap() > 0);
    let counted =
        post("/v1/messages/count_tokens", &json!({"model": "m", "messages": ["a".repeat(4000)]})).await.json();
    assert!((1000..1100).contains(&counted["input_tokens"].as_u64().unwrap()), "{counted}");
}

#[tokio::test]
async fn openai_chat_streams_chunks_and_ends_with_done() {
    let body = json!({"model": "gpt-x", "messages": [], "stream": true, "stream_options": {"include_usage": true}});
    for path in ["/v1/chat/completions", "/compatible-mode/v1/chat/completions"] {
        let events = post(path, &body).await.events();
        assert_eq!(joined(&events, "/choices/0/delta/content"), GREETING);
        assert_eq!(events[0].1["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(joined(&events, "/choices/0/finish_reason"), "stop");
        assert_eq!(events.last().unwrap().1, "[DONE]");
        let usage = &events[events.len() - 2].1;
        assert_eq!(usage["choices"], json!([]));
        assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 0);
        assert!(events[..events.len() - 1].iter().all(|(name, data)| name.is_empty() && data["model"] == "gpt-x"));
    }
    let whole = post("/v1/chat/completions", &json!({"model": "gpt-x", "messages": []})).await.json();
    assert_eq!(whole["choices"][0]["message"]["content"], GREETING);
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
}

/// Checks the events of one response, however they came.
fn check_response(events: &[Value], expected_text: &str) {
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
    }
    let named = |name: &str| events.iter().filter(|event| event["type"] == name).collect::<Vec<_>>();
    assert_eq!(events[0]["type"], "response.created");
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["id"], events[0]["response"]["id"]);
    assert_eq!(last["response"]["status"], "completed");
    let text: String =
        named("response.output_text.delta").iter().map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(text, expected_text);
    if expected_text.is_empty() {
        assert_eq!(last["response"]["output"], json!([]));
    } else {
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], expected_text);
        assert_eq!(named("response.output_item.done")[0]["item"], last["response"]["output"][0]);
    }
}

#[tokio::test]
async fn openai_responses_number_their_events() {
    for path in ["/v1/responses", "/backend-api/codex/responses"] {
        let events = post(path, &json!({"model": "gpt-x", "input": "?", "stream": true})).await.events();
        assert!(events.iter().all(|(name, data)| data["type"] == **name));
        check_response(&events.into_iter().map(|(_, data)| data).collect::<Vec<_>>(), GREETING);
    }
    let whole = post("/v1/responses", &json!({"model": "gpt-x", "input": []})).await.json();
    assert_eq!(whole["output"][0]["content"][0]["text"], GREETING);
}

#[tokio::test]
async fn gemini_answers_whole_as_events_and_as_an_array() {
    let body = json!({"contents": []});
    let whole = post("/v1beta/models/gemini-x:generateContent", &body).await.json();
    assert_eq!(whole["candidates"][0]["content"]["parts"][0]["text"], GREETING);
    assert_eq!(whole["modelVersion"], "gemini-x");
    let answer = post("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", &body).await;
    assert!(answer.text.ends_with("\r\n\r\n"));
    let events = answer.events();
    assert_eq!(joined(&events, "/candidates/0/content/parts/0/text"), GREETING);
    assert_eq!(joined(&events, "/candidates/0/finishReason"), "STOP");
    let array = post("/v1beta/models/gemini-x:streamGenerateContent", &body).await.json();
    assert_eq!(array.as_array().unwrap().len(), events.len());
    let wrapped = post("/v1internal:generateContent", &json!({"model": "gemini-y", "request": body})).await.json();
    assert_eq!(wrapped["response"]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(wrapped["response"]["modelVersion"], "gemini-y");
    assert!(post("/v1beta/models/gemini-x:countTokens", &body).await.json()["totalTokens"].is_u64());
}

#[tokio::test]
async fn a_schema_that_is_asked_for_is_kept() {
    let schema = json!({"type": "object", "required": ["choice", "score"], "properties": {
        "choice": {"type": "string", "enum": ["flash", "pro"]}, "score": {"type": "integer"}}});
    let expected = json!({"choice": "flash", "score": 1});
    let text = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();

    let config = json!({"responseMimeType": "application/json", "responseJsonSchema": schema});
    let gemini = post("/v1beta/models/m:generateContent", &json!({"contents": [], "generationConfig": config})).await;
    assert_eq!(text(&gemini.json()["candidates"][0]["content"]["parts"][0]["text"]), expected);

    let format = json!({"type": "json_schema", "schema": schema});
    let asked = json!({"model": "m", "messages": [], "output_config": {"format": format}});
    assert_eq!(text(&post("/v1/messages", &asked).await.json()["content"][0]["text"]), expected);
    let tools = json!([{"name": "pick", "input_schema": schema}]);
    let asked = json!({"model": "m", "messages": [], "tools": tools, "tool_choice": {"type": "tool", "name": "pick"}});
    let called = post("/v1/messages", &asked).await.json();
    assert_eq!((&called["content"][0]["input"], &called["stop_reason"]), (&expected, &json!("tool_use")));
    let mut streamed = asked;
    streamed["stream"] = true.into();
    let events = post("/v1/messages", &streamed).await.events();
    assert_eq!(text(&joined(&events, "/delta/partial_json").into()), expected);

    let asked = json!({"model": "m", "messages": [],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}});
    assert_eq!(text(&post("/v1/chat/completions", &asked).await.json()["choices"][0]["message"]["content"]), expected);
    let asked = json!({"model": "m", "messages": [], "tool_choice": {"type": "function", "function": {"name": "pick"}},
        "tools": [{"type": "function", "function": {"name": "pick", "parameters": schema}}]});
    let called = post("/v1/chat/completions", &asked).await.json();
    assert_eq!(text(&called["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]), expected);

    let asked = json!({"model": "m", "input": [], "text": {"format": format}});
    assert_eq!(text(&post("/v1/responses", &asked).await.json()["output"][0]["content"][0]["text"]), expected);
    let asked = json!({"model": "m", "input": [], "tool_choice": {"type": "function", "name": "pick"},
        "tools": [{"type": "function", "name": "pick", "parameters": schema}]});
    assert_eq!(text(&post("/v1/responses", &asked).await.json()["output"][0]["arguments"]), expected);
}

#[tokio::test]
async fn bad_requests_get_the_error_of_their_api() {
    let cases: &[(&str, &str, Fields, u16, &str)] = &[
        ("/v1/messages", "{", &[], 400, "/error/type=invalid_request_error"),
        ("/v1/messages", "{\"model\":\"m\"}", &[], 400, "/error/message=messages: Field required"),
        ("/v1/messages", "{}", &[("content-encoding", "compress")], 415, "/type=error"),
        ("/v1/messages", "not gzip", &[("content-encoding", "gzip")], 400, "/type=error"),
        ("/v1/chat/completions", "", &[], 400, "/error/type=invalid_request_error"),
        ("/v1/chat/completions", "{\"messages\":[]}", &[], 400, "/error/message=you must provide a model parameter"),
        ("/v1/responses", "{\"model\":\"m\"}", &[], 400, "/error/message=Missing required parameter: 'input'."),
        ("/v1beta/models/m:generateContent", "[1", &[], 400, "/error/status=INVALID_ARGUMENT"),
        ("/v1beta/models/m:countTokens", "{}", &[], 400, "/error/status=INVALID_ARGUMENT"),
    ];
    for (path, body, headers, status, expected) in cases {
        let answer = ask(
            Version::Http1,
            "api.example.com",
            request(Version::Http1, "POST", path, headers, body.as_bytes().to_vec()),
        )
        .await;
        let (pointer, value) = expected.split_once('=').unwrap();
        assert_eq!(answer.status, *status, "{path} {body}");
        assert_eq!(answer.json().pointer(pointer).unwrap(), value, "{path} {body}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bodies_are_read_in_every_coding() {
    let body = json!({"model": "m-coded", "messages": ["x".repeat(100_000)]}).to_string();
    let plain = body.as_bytes();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(plain).unwrap();
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 4, 20).write_all(plain).unwrap();
    let zstd = zstd::encode_all(plain, 1).unwrap();
    let (first, second) = plain.split_at(50_000);
    for (coding, coded) in [
        ("identity", plain.to_vec()),
        ("gzip", gzip(plain)),
        ("gzip", [gzip(first), gzip(second)].concat()),
        ("deflate", zlib.finish().unwrap()),
        ("br", br),
        ("zstd", zstd.clone()),
        ("zstd, gzip", gzip(&zstd)),
    ] {
        let headers = &[("content-encoding", coding)];
        let asked = request(Version::Http1, "POST", "/v1/messages", headers, coded);
        let answer = ask(Version::Http1, "api.example.com", asked).await;
        assert_eq!(answer.json()["model"], "m-coded", "{coding}");
    }
}

#[tokio::test]
async fn services_get_an_empty_success_of_their_shape() {
    const JSON: Fields = &[("content-type", "application/json")];
    const PROTOBUF: Fields = &[("content-type", "application/x-protobuf")];
    let cases: &[(&str, &str, &str, Fields, u16, &str)] = &[
        ("POST", "api.anthropic.com", "/api/event_logging/v2/batch", JSON, 200, "{}"),
        ("GET", "api.anthropic.com", "/api/claude_code/policy_limits", &[], 200, r#"{"restrictions":{}}"#),
        ("POST", "statsig.example.com", "/v1/rgstr", JSON, 202, r#"{"success":true}"#),
        ("POST", "ab.example.com", "/otlp/v1/metrics", JSON, 200, "{}"),
        ("POST", "otel.example.com", "/v1/logs", PROTOBUF, 200, ""),
        ("POST", "play.googleapis.com", "/log?format=json&hasfast=true", JSON, 200, r#"["900000",null,[]]"#),
        ("POST", "logs.example.com", "/api/v2/logs", JSON, 202, "{}"),
        ("POST", "rum.example.com", "/", &[("content-type", "text/plain")], 200, "{}"),
        ("POST", "beacon.example.com", "/b", &[("accept", "image/*")], 204, ""),
        ("GET", "git.example.com", "/o/r.git/info/refs?service=git-upload-pack", &[], 404, "Not found\n"),
        ("GET", "api.example.com", "/unknown", &[("accept", "text/html")], 404, "Not found\n"),
        ("GET", "api.example.com", "/settings", &[("if-none-match", "\"a\"")], 304, ""),
        ("HEAD", "api.example.com", "/", &[], 404, ""),
    ];
    for version in [Version::Http1, Version::Http2] {
        for (method, host, path, headers, status, expected) in cases {
            let asked = request(version, method, path, headers, "");
            let answer = ask(version, host, asked).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (*status, *expected), "{method} {host}{path}");
        }
    }
    let asked = request(Version::Http1, "POST", "/v1/logs", PROTOBUF, "");
    assert_eq!(ask(Version::Http1, "h", asked).await.header("content-type"), "application/x-protobuf");
}

#[tokio::test]
async fn credentials_are_neither_renewed_nor_refused() {
    for path in ["/v1/oauth/token", "/oauth/token"] {
        let answer = post(path, &json!({"grant_type": "refresh_token"})).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
    }
}

#[tokio::test]
async fn nothing_of_the_request_comes_back_but_the_model() {
    let canary = "kanarienvogel";
    for (path, mut body) in [
        ("/v1/messages", json!({"messages": [canary]})),
        ("/v1/chat/completions", json!({"messages": [canary]})),
        ("/v1/responses", json!({"input": canary, "instructions": canary})),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", json!({"contents": [canary]})),
        ("/api/eval/key", json!({"attributes": {"id": canary}})),
        ("/unknown/kanarienvogel", json!({"a": canary})),
    ] {
        for stream in [false, true] {
            body["model"] = "m".into();
            body["stream"] = stream.into();
            body["metadata"] = json!({"user_id": canary});
            let headers = &[("x-canary", canary), ("user-agent", canary), ("cookie", canary)];
            let asked = request(Version::Http1, "POST", path, headers, body.to_string());
            let answer = ask(Version::Http1, canary, asked).await;
            assert!(!answer.text.contains(canary) && !format!("{:?}", answer.headers).contains(canary), "{path}");
        }
    }
}

#[tokio::test]
async fn no_two_answers_share_an_identifier() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..5 {
        let answer = post("/v1/messages", &json!({"model": "m", "messages": []})).await.json();
        assert!(seen.insert(answer["id"].as_str().unwrap().to_owned()));
    }
}

/// A body that stays open.
struct Open;

impl Body for Open {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_stream_that_stays_open_is_answered_at_once() {
    for (kind, version) in [
        ("application/connect+proto", Version::Http2),
        ("application/connect+json", Version::Http1),
        ("application/grpc", Version::Http2),
    ] {
        let mut asked = request(version, "POST", "/agent.v1.AgentService/Run", &[("content-type", kind)], "");
        *asked.body_mut() = Open.boxed();
        let answer = send(version, "api.example.com", asked).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], kind);
        if kind == "application/grpc" {
            assert_eq!(answer.headers()["grpc-status"], "12");
        } else {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body[0], 2, "an end-of-stream envelope");
            assert_eq!(body.len() - 5, usize::try_from(u32::from_be_bytes(body[1..5].try_into().unwrap())).unwrap());
            assert_eq!(serde_json::from_slice::<Value>(&body[5..]).unwrap()["error"]["code"], "unimplemented");
        }
    }
}

#[tokio::test]
async fn a_peer_that_breaks_http_is_an_error() {
    let (mut ours, theirs) = duplex(1024);
    let served = tokio::spawn(serve(theirs, "api.example.com".to_owned(), Version::Http1));
    ours.write_all(b"not http at all\r\n\r\n").await.unwrap();
    let error = served.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the offline upstream could not finish the connection");
}

// WebSockets.

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One frame as a client sends it.
fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

async fn receive(io: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let (first, second) = (io.read_u8().await.unwrap(), io.read_u8().await.unwrap());
    assert_eq!(first & 0xf0, 0x80, "whole and uncompressed");
    let length = match second {
        126 => usize::from(io.read_u16().await.unwrap()),
        0..=125 => usize::from(second),
        _ => panic!("a masked or oversized frame from a server"),
    };
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).await.unwrap();
    (first & 0x0f, payload)
}

/// The events of one response, up to its end.
async fn response(io: &mut (impl AsyncRead + Unpin)) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let (opcode, payload) = receive(io).await;
        assert_eq!(opcode, 1);
        events.push(serde_json::from_slice(&payload).unwrap());
        let kind = events.last().unwrap()["type"].as_str().unwrap();
        if kind == "response.completed" || kind == "error" {
            return events;
        }
    }
}

/// What Codex does on its socket, and what a broken client would.
async fn talk(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let create = json!({"type": "response.create", "model": "gpt-x", "input": [], "stream": true});
    let mut warm = create.clone();
    warm["generate"] = false.into();
    io.write_all(&frame(true, 1, warm.to_string().as_bytes())).await.unwrap();
    let warmed = response(io).await;
    check_response(&warmed, "");

    // The turn, in three frames with a ping between them.
    let mut turn = create;
    turn["previous_response_id"] = warmed[0]["response"]["id"].clone();
    turn["padding"] = "p".repeat(30_000).into();
    let text = turn.to_string();
    let (first, rest) = text.as_bytes().split_at(7);
    let (second, third) = rest.split_at(20_000);
    let frames =
        [frame(false, 1, first), frame(false, 0, second), frame(true, 9, b"still there?"), frame(true, 0, third)];
    io.write_all(&frames.concat()).await.unwrap();
    assert_eq!(receive(io).await, (10, b"still there?".to_vec()));
    check_response(&response(io).await, GREETING);

    for bad in ["{", "{\"type\":\"other\"}", "{\"type\":\"response.create\",\"model\":\"m\"}"] {
        io.write_all(&frame(true, 1, bad.as_bytes())).await.unwrap();
        let fault = response(io).await;
        assert_eq!((&fault[0]["status"], &fault[0]["error"]["type"]), (&json!(400), &json!("invalid_request_error")));
    }

    io.write_all(&frame(true, 8, &1000_u16.to_be_bytes())).await.unwrap();
    assert_eq!(receive(io).await, (8, 1000_u16.to_be_bytes().to_vec()));
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "nothing after the close");
}

/// Opens a WebSocket over HTTP/1.1; the answer's head comes back as text.
async fn open(io: &mut DuplexStream, path: &str) -> String {
    let asked = format!(
        "GET {path} HTTP/1.1\r\nhost: api.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    );
    io.write_all(asked.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn responses_come_over_a_websocket_of_http_1() {
    let mut io = connect("api.example.com", Version::Http1);
    let head = open(&mut io, "/v1/responses").await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    // The example of RFC 6455, 1.3.
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "no compression is accepted");
    talk(&mut io).await;
}

#[tokio::test]
async fn responses_come_over_a_websocket_of_http_2() {
    let io = TokioIo::new(connect("chatgpt.example.com", Version::Http2));
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    // Extended CONNECT may be sent once the server's SETTINGS have come; an answer comes after them.
    let first = request(Version::Http2, "GET", "/v1/models", &[], "");
    assert_eq!(sender.send_request(first).await.unwrap().status(), StatusCode::OK);
    let asked = Request::builder()
        .method("CONNECT")
        .uri("https://chatgpt.example.com/backend-api/codex/responses")
        .header("sec-websocket-version", "13")
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .body(Empty::new().boxed())
        .unwrap();
    let answer = sender.send_request(asked).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let upgraded = hyper::upgrade::on(answer).await.unwrap();
    talk(&mut TokioIo::new(upgraded)).await;
}

#[tokio::test]
async fn a_websocket_that_breaks_the_rules_is_closed_with_the_reason() {
    let unmasked = vec![0x81, 0x02, b'{', b'}'];
    let mut compressed = frame(true, 1, b"{}");
    compressed[0] |= 0x40;
    for (sent, code, what) in [
        (unmasked, 1002_u16, "an unmasked frame"),
        (compressed, 1002, "a compressed frame, which was not agreed"),
        (frame(true, 0, b"{}"), 1002, "a continuation of nothing"),
        (frame(false, 9, b""), 1002, "a ping in parts"),
        (frame(true, 3, b""), 1002, "a reserved opcode"),
        (frame(true, 2, b"{}"), 1003, "a binary message"),
    ] {
        let mut io = connect("api.example.com", Version::Http1);
        open(&mut io, "/v1/responses").await;
        io.write_all(&sent).await.unwrap();
        assert_eq!(receive(&mut io).await, (8, code.to_be_bytes().to_vec()), "{what}");
    }
}

#[tokio::test]
async fn a_websocket_elsewhere_is_refused() {
    let mut io = connect("api.example.com", Version::Http1);
    assert!(open(&mut io, "/v1/realtime").await.starts_with("http/1.1 404 "));
}
