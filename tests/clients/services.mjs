// An upstream for clients that sign in before they ask a model: Qoder, the Cursor SDK, GitHub Copilot. It takes any
// credential, names one model and says one sentence.
//
//   node services.mjs CERTIFICATE KEY SENTENCE
//
// Prints its port. HTTP/1.1 and HTTP/2; everything it does not know gets an empty object, or an empty message where the
// request is protobuf.

import fs from "node:fs";
import http2 from "node:http2";

import { copilot, cursor, qoder } from "./signed_in.mjs";

const [certificate, key, SENTENCE] = process.argv.slice(2);

// Protobuf: a field with a number or with bytes, and the envelope of a Connect stream (flag 2 ends it).
const varint = (number) => {
  const bytes = [];
  for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
  return Buffer.from([...bytes, number]);
};
const field = (number, value) => {
  if (typeof value === "number") return Buffer.concat([varint(number << 3), varint(value)]);
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
};
const envelope = (message, flag = 0) => {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

const piece = (delta, finish_reason = null) => ({ id: "c-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] });
const pieces = () => [
  piece({ role: "assistant", content: "" }),
  ...SENTENCE.match(/[\s\S]{1,9}/gu).map((content) => piece({ content })),
  piece({}, "stop"),
  { ...piece({}), choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } },
];

// Cursor's agent: the server's stream of one run, which asks for the environment and then answers. What the client
// says comes as appended messages, since the server switches HTTP/2 off (whose connections pass by any proxy). They may
// overtake the stream that they belong to, which comes over another connection.
let stream;
const early = [];
const opened = (response) => {
  stream = response;
  for (const body of early.splice(0)) appended(body);
};
const appended = (body) => {
  if (!stream) return early.push(body);
  const hex = /[0-9a-f]{20,}/.exec(body.toString("latin1"));
  const message = hex ? Buffer.from(hex[0], "hex") : Buffer.alloc(0);
  if (message.length === 0) return;
  const [RUN, RESULT] = [(1 << 3) | 2, (2 << 3) | 2];
  if (message[0] === RUN) stream.write(envelope(field(2, Buffer.concat([field(1, 1), field(15, "e-1"), field(10, "")]))));
  else if (message[0] === RESULT) {
    stream.write(envelope(field(1, field(1, field(1, SENTENCE)))));
    stream.write(envelope(field(1, field(14, field(1, 1)))));
    stream.end(envelope(Buffer.from("{}"), 2));
    stream = undefined;
  }
};

const answer = (request, response, body) => {
  const path = request.url.split("?")[0];
  const kind = request.headers["content-type"] ?? "";
  const send = (type, content) => {
    response.writeHead(200, { "content-type": type });
    response.end(content);
  };
  const known = qoder(path) ?? copilot(path) ?? cursor(path);
  if (known) return send("application/json", JSON.stringify(known));
  if (path.endsWith("/agent_chat_generation")) {
    const wrapped = [...pieces().map((each) => JSON.stringify(each)), "[DONE]"].map((body) => ({ headers: {}, body, statusCodeValue: 200, statusCode: "OK" }));
    return send("text/event-stream", `${wrapped.map((each) => `data:${JSON.stringify(each)}\n\n`).join("")}event:finish\ndata:{}\n\n`);
  }
  if (path.endsWith("/chat/completions")) return send("text/event-stream", `${pieces().map((each) => `data: ${JSON.stringify(each)}\n\n`).join("")}data: [DONE]\n\n`);
  if (path.endsWith("/GetServerConfig")) return send("application/proto", field(7, 1)); // no HTTP/2
  if (path.endsWith("/BidiAppend")) appended(body);
  if (kind.includes("proto")) return send("application/proto", "");
  send("application/json", "{}");
};

const server = http2.createSecureServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key), allowHTTP1: true }, (request, response) => {
  if (request.url.endsWith("/RunSSE")) {
    request.resume();
    response.writeHead(200, { "content-type": "application/connect+proto" });
    response.flushHeaders();
    return opened(response);
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => answer(request, response, Buffer.concat(parts)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
