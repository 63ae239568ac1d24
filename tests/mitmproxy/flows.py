# Writes flows as this version of mitmproxy keeps them: FOLDER/flows.mitm, and those of HTTP as FOLDER/flows.har.
import gzip, json, sys

from mitmproxy import connection, dns, exceptions, flow, http, tcp, udp, version, websocket
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow
from wsproto.frame_protocol import Opcode

folder = sys.argv[1]


def connections(name, address, sni):
    client = tflow.tclient_conn()
    server = connection.Server(address=address, sni=sni)
    return client, server


def exchange(client_server, request, response=None):
    made = http.HTTPFlow(*client_server)
    made.request, made.response = request, response
    return made


def request(host, port, method, scheme, authority, path, protocol, headers, content, trailers=None):
    return http.Request(
        host, port, method, scheme, authority, path, protocol,
        http.Headers(headers), content, trailers and http.Headers(trailers), 1767323045.678, 1767323045.7,
    )


def response(protocol, status, reason, headers, content, trailers=None):
    return http.Response(
        protocol, status, reason, http.Headers(headers), content,
        trailers and http.Headers(trailers), 1767323045.8, 1767323046.25,
    )


http2 = exchange(
    connections("api.example.com", ("api.example.com", 8443), "api.example.com"),
    request(
        "api.example.com", 8443, b"POST", b"https", b"api.example.com:8443", b"/v1?a=b", b"HTTP/2.0",
        [(b"content-type", b"application/json"), (b"content-encoding", b"gzip"), (b"x-a", b"1"), (b"x-a", b"2")],
        gzip.compress('{"name":"Grüße"}'.encode(), mtime=0),
    ),
    response(b"HTTP/2.0", 200, b"", [(b"content-type", b"text/plain"), (b"x-b", b"caf\xe9")], b"\x00\xff\x01answer", [(b"x-end", b"1")]),
)
# A transparent proxy sees an address.
transparent = exchange(
    connections("", ("192.0.2.7", 443), "named.example.com"),
    request("192.0.2.7", 443, b"GET", b"https", b"", b"/x", b"HTTP/1.1", [(b"Host", b"named.example.com")], b""),
    response(b"HTTP/1.1", 204, b"No Content", [(b"Server", b"t")], b""),
)
socket = exchange(
    connections("", ("live.example.com", 80), None),
    request(
        "live.example.com", 80, b"GET", b"http", b"", b"/ws", b"HTTP/1.1",
        [(b"Host", b"live.example.com"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")], b"",
    ),
    response(b"HTTP/1.1", 101, b"Switching Protocols", [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")], b""),
)
socket.websocket = websocket.WebSocketData(
    messages=[
        websocket.WebSocketMessage(Opcode.TEXT, True, "hallo grüße".encode(), 1767323047.5),
        websocket.WebSocketMessage(Opcode.BINARY, False, b"\x00\xff", 1767323048.0),
        websocket.WebSocketMessage(Opcode.TEXT, True, b"kept", 1767323049.0, dropped=True),
    ],
    closed_by_client=True, close_code=1000, close_reason="", timestamp_end=1767323050.0,
)
failed = exchange(
    connections("", ("down.example.com", 443), "down.example.com"),
    request("down.example.com", 443, b"PUT", b"https", b"", b"/", b"HTTP/1.1", [(b"Host", b"down.example.com"), (b"Content-Length", b"4")], b"body"),
)
failed.error = flow.Error("connection refused", 1767323051.0)
streamed = exchange(
    connections("", ("up.example.com", 443), "up.example.com"),
    request("up.example.com", 443, b"POST", b"https", b"", b"/upload", b"HTTP/1.1", [(b"Host", b"up.example.com")], None),
    response(b"HTTP/1.1", 200, b"OK", [], None),
)

of_http = [http2, transparent, socket, failed, streamed]
with open(f"{folder}/flows.mitm", "wb") as file:
    writer = FlowWriter(file)
    for one in of_http + [tflow.ttcpflow(), tflow.tudpflow(), tflow.tdnsflow()]:
        writer.add(one)

# The body of `streamed` is missing; some versions cannot export it.
har = SaveHar().make_har([http2, transparent, socket, failed])
with open(f"{folder}/flows.har", "w") as file:
    json.dump(har, file, indent=4)
print(version.FLOW_FORMAT_VERSION)
