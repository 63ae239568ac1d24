// An upstream that calls a tool: it answers the first request of a turn with the call that reads planted.txt in the
// working directory as the request shows it, and the one that brings the file's word with a sentence about it.
//
//   node upstream.mjs CERTIFICATE KEY LOG
//
// Prints its port. Every request goes to LOG, a line of JSON each. Anthropic Messages, OpenAI Chat Completions and
// Responses, Gemini, Qoder's gateway; streams in pieces of three characters. Everything else gets an empty object.

import fs from "node:fs";
import https from "node:https";
import zlib from "node:zlib";

import { copilot, qoder } from "./signed_in.mjs";

const [certificate, key, log] = process.argv.slice(2);
const WORD = "Zauberwort-4711";

const unpack = (coding, bytes) => {
  try {
    if (coding === "gzip") return zlib.gunzipSync(bytes);
    if (coding === "br") return zlib.brotliDecompressSync(bytes);
    if (coding === "deflate") return zlib.inflateSync(bytes);
  } catch {}
  return bytes;
};

// Qoder's `Encode=1`: base64 in an alphabet of its own, the first and the last third exchanged.
const ALPHABET = "_doRTgHZBKcGVjlvpC,@aFSx#DPuNJme&i*MzLOEn)sUrthbf%Y^w.(kIQyXqWA!$";
const STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
const decoded = (text) => {
  const third = Math.floor(text.length / 3);
  const whole = text.slice(text.length - third) + text.slice(third, text.length - third) + text.slice(0, third);
  return Buffer.from([...whole].map((each) => STANDARD[ALPHABET.indexOf(each)]).join(""), "base64").toString();
};

const pieces = (text) => text.match(/[\s\S]{1,3}/gu) ?? [];

// The working directory as the client tells it, whatever its words.
const workingDirectory = (text) => {
  const told = /(?:working directory|current directory|working in the directory|workspace director(?:y|ies)|cwd)[^/\n]{0,60}?\n?[^/\n]{0,9}(\/[^\s"'`<>\\,;)]+)/gi;
  const paths = [...text.matchAll(told)].map((match) => match[1].replace(/[.:]+$/, ""));
  return paths.find((path) => /^\/[^/]+\/./.test(path));
};

// A call that shows planted.txt, with a tool that the client offers.
const callFor = (tools, cwd) => {
  const file = `${cwd}/planted.txt`;
  const named = (pattern) => tools.find((tool) => pattern.test(tool.name));
  const reader = named(/^(read|read_file|view)$/i);
  const argument = Object.keys(reader?.schema ?? {}).find((name) => /^(file_path|filePath|absolute_path|path)$/.test(name));
  if (argument) return { name: reader.name, input: { [argument]: file } };
  // A tool that runs JavaScript, which calls the others.
  const script = tools.find((tool) => tool.custom && tool.name === "exec");
  if (script) return { name: "exec", custom: `text(await tools.exec_command({ cmd: ${JSON.stringify(`cat ${file}`)} }));` };
  const shell = named(/^(shell|shell_command|exec_command|local_shell|bash|run_shell_command)$/i);
  if (!shell) return undefined;
  const [command, schema] = Object.entries(shell.schema).find(([name]) => /^(command|cmd)$/.test(name)) ?? [];
  if (!command) return undefined;
  const line = `cat ${file}`;
  return { name: shell.name, input: { [command]: schema.type === "array" ? ["bash", "-c", line] : line } };
};

const decide = (body, tools) => {
  const text = body.replaceAll("\\n", "\n").replaceAll("\\/", "/");
  const cwd = workingDirectory(text);
  if (text.includes(WORD)) return { text: `The file at ${cwd}/planted.txt says ${WORD}.` };
  const call = cwd && callFor(tools, cwd);
  return call ? { text: `I look at ${cwd}.`, call } : { text: "All is well." };
};

const schemaOf = (parameters) => parameters?.properties ?? {};

const anthropic = (request) => {
  const tools = (request.tools ?? []).map((tool) => ({ name: tool.name, schema: schemaOf(tool.input_schema) }));
  const answer = decide(JSON.stringify(request), tools);
  const usage = { input_tokens: 1, output_tokens: 1 };
  const stop = answer.call ? "tool_use" : "end_turn";
  const blocks = [{ type: "text", text: answer.text }];
  if (answer.call) blocks.push({ type: "tool_use", id: "toolu_01planted", name: answer.call.name, input: answer.call.input });
  const message = { id: "msg_01", type: "message", role: "assistant", model: request.model, content: blocks, stop_reason: stop, stop_sequence: null, usage };
  if (!request.stream) return message;
  const events = [{ type: "message_start", message: { ...message, content: [], stop_reason: null } }];
  blocks.forEach((block, index) => {
    const tool = block.type === "tool_use";
    events.push({ type: "content_block_start", index, content_block: tool ? { ...block, input: {} } : { type: "text", text: "" } });
    for (const piece of pieces(tool ? JSON.stringify(block.input) : block.text)) {
      events.push({ type: "content_block_delta", index, delta: tool ? { type: "input_json_delta", partial_json: piece } : { type: "text_delta", text: piece } });
      if (Math.random() < 0.1) events.push({ type: "ping" });
    }
    events.push({ type: "content_block_stop", index });
  });
  events.push({ type: "message_delta", delta: { stop_reason: stop, stop_sequence: null }, usage }, { type: "message_stop" });
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
};

const chat = (request) => {
  const tools = (request.tools ?? []).map((tool) => ({ name: tool.function.name, schema: schemaOf(tool.function.parameters) }));
  const answer = decide(JSON.stringify(request), tools);
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  const base = { id: "chatcmpl-1", created: 1, model: request.model };
  const call = answer.call && { index: 0, id: "call_planted", type: "function", function: { name: answer.call.name, arguments: JSON.stringify(answer.call.input) } };
  const finish_reason = call ? "tool_calls" : "stop";
  if (!request.stream) {
    const message = { role: "assistant", content: answer.text, ...(call && { tool_calls: [call] }) };
    return { ...base, object: "chat.completion", choices: [{ index: 0, message, finish_reason }], usage };
  }
  const chunk = (delta, finish = null) => ({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] });
  const chunks = [chunk({ role: "assistant", content: "" }), ...pieces(answer.text).map((content) => chunk({ content }))];
  if (call) {
    chunks.push(chunk({ tool_calls: [{ ...call, function: { name: call.function.name, arguments: "" } }] }));
    chunks.push(...pieces(call.function.arguments).map((part) => chunk({ tool_calls: [{ index: 0, function: { arguments: part } }] })));
  }
  chunks.push(chunk({}, finish_reason), { ...base, object: "chat.completion.chunk", choices: [], usage });
  return chunks.map((each) => `data: ${JSON.stringify(each)}\n\n`).join("") + "data: [DONE]\n\n";
};

const responses = (request) => {
  const listed = [...(request.tools ?? []), ...(request.input ?? []).flatMap((item) => item.tools ?? [])];
  const flat = listed.flatMap((tool) => (tool.type === "namespace" ? tool.tools : [tool])).filter((tool) => tool.name);
  const tools = flat.map((tool) => ({ name: tool.name, schema: schemaOf(tool.parameters), custom: tool.type === "custom" }));
  const answer = decide(JSON.stringify(request), tools);
  const events = [];
  const output = [];
  const response = (status) => ({ id: "resp_1", object: "response", created_at: 1, model: request.model, status, output, usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 } });
  events.push({ type: "response.created", response: { ...response("in_progress"), output: [] } });
  const message = { type: "message", id: "msg_1", role: "assistant", status: "completed", content: [{ type: "output_text", text: answer.text, annotations: [] }] };
  events.push({ type: "response.output_item.added", output_index: 0, item: { ...message, status: "in_progress", content: [] } });
  for (const delta of pieces(answer.text)) events.push({ type: "response.output_text.delta", item_id: "msg_1", output_index: 0, content_index: 0, delta });
  events.push({ type: "response.output_text.done", item_id: "msg_1", output_index: 0, content_index: 0, text: answer.text });
  events.push({ type: "response.output_item.done", output_index: 0, item: message });
  output.push(message);
  if (answer.call?.custom) {
    const call = { type: "custom_tool_call", id: "ctc_1", call_id: "call_planted", name: answer.call.name, input: answer.call.custom, status: "completed" };
    events.push({ type: "response.output_item.added", output_index: 1, item: { ...call, input: "", status: "in_progress" } });
    for (const delta of pieces(call.input)) events.push({ type: "response.custom_tool_call_input.delta", item_id: "ctc_1", output_index: 1, delta });
    events.push({ type: "response.custom_tool_call_input.done", item_id: "ctc_1", output_index: 1, input: call.input });
    events.push({ type: "response.output_item.done", output_index: 1, item: call });
    output.push(call);
  } else if (answer.call) {
    const call = { type: "function_call", id: "fc_1", call_id: "call_planted", name: answer.call.name, arguments: JSON.stringify(answer.call.input), status: "completed" };
    events.push({ type: "response.output_item.added", output_index: 1, item: { ...call, arguments: "", status: "in_progress" } });
    for (const delta of pieces(call.arguments)) events.push({ type: "response.function_call_arguments.delta", item_id: "fc_1", output_index: 1, delta });
    events.push({ type: "response.function_call_arguments.done", item_id: "fc_1", output_index: 1, arguments: call.arguments });
    events.push({ type: "response.output_item.done", output_index: 1, item: call });
    output.push(call);
  }
  if (!request.stream) return response("completed");
  events.push({ type: "response.completed", response: response("completed") });
  return events.map((event, sequence_number) => `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number })}\n\n`).join("");
};

// The same chunks, each as a string in a document of the gateway.
const wrapped = (request) => {
  const events = chat({ ...request, stream: true }).split("\n\n").filter((event) => event);
  const around = (body) => ({ headers: {}, body, statusCodeValue: 200, statusCode: "OK" });
  return events.map((event) => `data:${JSON.stringify(around(event.slice("data: ".length)))}\n\n`).join("") + "event:finish\ndata:{}\n\n";
};

// A value that a JSON Schema takes, for requests that want no text.
const sample = (schema) => {
  if (schema.enum) return schema.enum[0];
  switch ([schema.type].flat()[0]?.toLowerCase()) {
    case "object": return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, each]) => [name, sample(each)]));
    case "array": return [];
    case "integer": case "number": return schema.minimum ?? 1;
    case "boolean": return false;
    default: return "x";
  }
};

const gemini = (request, stream) => {
  const wanted = request.generationConfig?.responseJsonSchema ?? request.generationConfig?.responseSchema;
  const declared = (request.tools ?? []).flatMap((tool) => tool.functionDeclarations ?? []);
  const tools = declared.map((tool) => ({ name: tool.name, schema: schemaOf(tool.parametersJsonSchema ?? tool.parameters) }));
  const answer = decide(JSON.stringify(request), tools);
  const document = (parts, finishReason) => ({ candidates: [{ index: 0, content: { role: "model", parts }, ...(finishReason && { finishReason }) }], usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 } });
  if (wanted) return document([{ text: JSON.stringify(sample(wanted)) }], "STOP");
  const call = answer.call && { functionCall: { name: answer.call.name, args: answer.call.input } };
  if (!stream) return document([{ text: answer.text }, ...(call ? [call] : [])], "STOP");
  const documents = [...pieces(answer.text).map((text) => document([{ text }])), ...(call ? [document([call])] : []), document([{ text: "" }], "STOP")];
  return documents.map((each) => `data: ${JSON.stringify(each)}\r\n\r\n`).join("");
};

const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, (request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    let body = unpack(request.headers["content-encoding"], Buffer.concat(parts)).toString("latin1");
    if (body && request.url.includes("Encode=1")) body = Buffer.from(decoded(body)).toString("latin1");
    fs.appendFileSync(log, JSON.stringify({ host: request.headers.host, url: request.url, headers: request.rawHeaders, body }) + "\n");
    const path = request.url.split("?")[0];
    let answer = (request.headers.host?.endsWith("qoder.sh") ? qoder(path) : copilot(path)) ?? {};
    try {
      const sent = JSON.parse(Buffer.from(body, "latin1").toString());
      if (path.endsWith("/v1/messages")) answer = anthropic(sent);
      else if (path.endsWith("/chat/completions")) answer = chat(sent);
      else if (path.endsWith("/agent_chat_generation")) answer = wrapped(sent);
      else if (path.endsWith("/responses")) answer = responses(sent);
      else if (path.endsWith(":streamGenerateContent")) answer = gemini(sent, true);
      else if (path.endsWith(":generateContent")) answer = gemini(sent, false);
      else if (path.endsWith(":countTokens") || path.endsWith("/count_tokens")) answer = { totalTokens: 1, input_tokens: 1 };
    } catch {}
    const stream = typeof answer === "string";
    // As providers do: compressed where the client takes it.
    const zipped = /gzip/.test(request.headers["accept-encoding"] ?? "");
    response.writeHead(200, { "content-type": stream ? "text/event-stream" : "application/json", ...(zipped && { "content-encoding": "gzip" }) });
    const text = stream ? answer : JSON.stringify(answer);
    response.end(zipped ? zlib.gzipSync(text) : text);
  });
});
server.on("upgrade", (_, socket) => socket.end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
