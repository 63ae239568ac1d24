# Serves a page on 127.0.0.1:18090 whose script sends a body of every kind, once more after it was loaded again.
import http.server, json
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
  await fetch('/done'); if (!sessionStorage.again) { sessionStorage.again = 1; setTimeout(() => location.reload(), 12000); }
})();
</script>"""
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        n = int(self.headers.get("content-length", 0)); self.rfile.read(n)
        page = self.path == "/"
        body = PAGE if page else json.dumps({"got": n}).encode()
        self.send_response(200); self.send_header("content-type", "text/html" if page else "application/json")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    do_GET = do_POST = answer
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 18090), H).serve_forever()
