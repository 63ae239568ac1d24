# Prints what this version of mitmproxy reads out of an archive: a line of JSON each exchange.
import base64, json, sys

from mitmproxy.io import FlowReader


def coded(content):
    return base64.b64encode(content or b"").decode()


with open(sys.argv[1], "rb") as file:
    for flow in FlowReader(file).stream():
        print(json.dumps([
            flow.request.method, flow.request.pretty_url, flow.request.get_text(strict=False),
            flow.response.status_code, coded(flow.response.content),
            len(flow.websocket.messages) if flow.websocket else 0,
        ]))
