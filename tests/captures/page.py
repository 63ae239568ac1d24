# Serves a page on 127.0.0.1:18090 whose script sends a body of every kind, reads events and talks over a WebSocket; once
# more after it was loaded again.
import base64, hashlib, http.server, json

PAGE = b"""<!doctype html><title>t</title><script>
(async () => {
  await fetch('/json', {method: 'POST', headers: {'content-type': 'application/json', 'x-device': 'example-1'}, body: JSON.stringify({name: 'Gr\\u00fc\\u00dfe', n: 1})});
  await fetch('/form', {method: 'POST', body: new URLSearchParams({a: 'b c', d: '&='})});
  const form = new FormData(); form.append('field', 'value'); form.append('file', new Blob([new Uint8Array([0, 255, 1])], {type: 'application/x-y'}), 'f.bin');
  await fetch('/multipart', {method: 'POST', body: form});
  await fetch('/binary', {method: 'POST', body: new Uint8Array([0, 1, 128, 255, 200, 65])});
  const gz = new Response(new Blob(['{"zipped":true}']).stream().pipeThrough(new CompressionStream('gzip')));
  await fetch('/gzip', {method: 'POST', headers: {'content-encoding': 'gzip'}, body: await gz.arrayBuffer()});
  await fetch('/query?tz=Europe%2FBerlin&x=1#no');
  const events = new EventSource('/events');
  await new Promise(done => events.addEventListener('end', done));
  events.close();
  const socket = new WebSocket(location.href.replace(/^http/, 'ws') + 'socket');
  await new Promise(done => { socket.onopen = done; });
  socket.send('{"machine":"example-1"}');
  socket.send(new Uint8Array([0, 255]));
  await new Promise(done => { socket.onmessage = done; });
  await fetch('/done');
  if (!sessionStorage.again) { sessionStorage.again = 1; setTimeout(() => location.reload(), 12000); }
})();
</script>"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length", 0))
        self.rfile.read(length)
        if self.path == "/socket":
            return self.talk()
        kind, body = "application/json", json.dumps({"got": length}).encode()
        if self.path == "/":
            kind, body = "text/html", PAGE
        if self.path == "/events":
            kind, body = "text/event-stream", "data: grüße\n\nevent: end\nid: 7\ndata: 1\ndata: 2\n\n".encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def talk(self):
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        # Both messages of the client, then one to it.
        for _ in range(2):
            head = self.rfile.read(2)
            self.rfile.read(4 + (head[1] & 127))
        self.wfile.write(b"\x82\x03\x00\xff\x01")
        self.wfile.flush()
        self.rfile.read(1)
        self.close_connection = True

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 18090), Handler).serve_forever()
