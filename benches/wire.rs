//! The wire codecs beside httparse: one real-sized head, and a body of a mebibyte.
//!
//! ```sh
//! cargo bench --bench wire
//! ```

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use divulge::wire::{BodyReader, ForwardRequest, Framing, Limits, MessageReader, RequestHead, ResponseHead, Side};

/// 724 bytes in 21 fields, as an assistant sends them.
fn head() -> Vec<u8> {
    let fields = [
        ("accept", "application/json"),
        ("anthropic-beta", "interleaved-thinking-2025-05-14,fine-grained-tools-2025-05-14"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("anthropic-version", "2023-06-01"),
        ("content-type", "application/json"),
        ("user-agent", "assistant-cli/2.1.169 (external, cli)"),
        ("x-app", "cli"),
        ("x-stainless-arch", "x64"),
        ("x-stainless-lang", "js"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-package-version", "0.60.0"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-runtime", "node"),
        ("x-stainless-runtime-version", "v24.3.0"),
        ("x-stainless-timeout", "600"),
        ("authorization", "Bearer dummy"),
        ("Connection", "keep-alive"),
        ("Host", "api.example.com"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Content-Length", "2048"),
    ];
    let mut head = "POST /v1/messages?beta=true HTTP/1.1\r\n".to_owned();
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    const BYTES: usize = 724;
    let filler = BYTES - head.len() - "x-session: \r\n\r\n".len();
    head.push_str(&format!("x-session: {}\r\n\r\n", "5".repeat(filler)));
    head.into_bytes()
}

fn heads(criterion: &mut Criterion) {
    let head = head();
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(head.len() as u64));
    group.bench_function("httparse", |bench| {
        bench.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 200];
            let mut request = httparse::Request::new(&mut fields);
            let _ = black_box(request.parse(black_box(&head)));
        });
    });
    group.bench_function("parse", |bench| {
        bench.iter_batched_ref(
            || BytesMut::from(&head[..]),
            |buffer| black_box(RequestHead::parse(buffer, &limits)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("parse, copy in", |bench| {
        bench.iter(|| {
            let mut buffer = BytesMut::from(black_box(&head[..]));
            black_box(RequestHead::parse(&mut buffer, &limits))
        });
    });
    let parsed = RequestHead::parse(&mut BytesMut::from(&head[..]), &limits).unwrap().unwrap();
    let mut out = BytesMut::with_capacity(4096);
    group.bench_function("write", |bench| {
        bench.iter(|| {
            out.clear();
            parsed.write(&[], &ForwardRequest::default(), &mut out);
            black_box(&out);
        });
    });
    let response = b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                     Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\nrequest-id: req_011\r\n\r\n";
    group.bench_function("response", |bench| {
        bench.iter(|| {
            let mut buffer = BytesMut::from(black_box(&response[..]));
            black_box(ResponseHead::parse(&mut buffer, "POST", false, &limits))
        });
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    const MEBIBYTE: usize = 1 << 20;
    const READ: usize = 64 * 1024;
    let plain = vec![b'x'; MEBIBYTE];
    let mut chunked = Vec::new();
    for piece in plain.chunks(16 * 1024) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(MEBIBYTE as u64));
    for (name, framing, bytes) in
        [("length", Framing::Length(MEBIBYTE as u64), &plain), ("chunked", Framing::Chunked, &chunked)]
    {
        let reads = || bytes.chunks(READ).map(BytesMut::from).collect::<Vec<_>>();
        group.bench_function(format!("pass, {name}"), |bench| {
            bench.iter_batched_ref(
                reads,
                |reads| {
                    let mut reader = BodyReader::new(framing, Limits::default());
                    let (mut out, mut seen) = (BytesMut::new(), 0);
                    for read in reads {
                        let _ = black_box(reader.pass(read, &mut out, &mut |data| seen += data.len()));
                        out.clear();
                    }
                    assert_eq!(seen, MEBIBYTE);
                },
                BatchSize::LargeInput,
            );
        });
        group.bench_function(format!("take, {name}"), |bench| {
            bench.iter_batched_ref(
                reads,
                |reads| {
                    let mut reader = BodyReader::new(framing, Limits::default());
                    let mut data = BytesMut::with_capacity(MEBIBYTE);
                    for read in reads {
                        let _ = black_box(reader.take(read, &mut data));
                    }
                    assert_eq!(data.len(), MEBIBYTE);
                },
                BatchSize::LargeInput,
            );
        });
    }
    let mut message = vec![0x82, 0xff];
    message.extend_from_slice(&(MEBIBYTE as u64).to_be_bytes());
    message.extend_from_slice(&[1, 2, 3, 4]);
    message.extend_from_slice(&plain);
    group.bench_function("websocket message", |bench| {
        bench.iter_batched_ref(
            || message.chunks(READ).map(BytesMut::from).collect::<Vec<_>>(),
            |reads| {
                let mut reader = MessageReader::new(Side::Client, None, 2 * MEBIBYTE);
                for read in reads {
                    let _ = black_box(reader.step(read));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = wire;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).sample_size(30);
    targets = heads, bodies
}
criterion_main!(wire);
