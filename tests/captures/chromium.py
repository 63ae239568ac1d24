# Opens the developer tools of a running Chromium beside a tab, loads the page in it, and prints what they export.
import json, socket, sys, time, urllib.request

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

PORT = 18222


def get(path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", method=method)
    return json.load(urllib.request.urlopen(request))


class Session:
    """The debugging protocol of one target."""

    def __init__(self, target):
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.socket.settimeout(60)
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.socket.sendall(self.connection.send(Request(host=f"127.0.0.1:{PORT}", target=f"/devtools/page/{target}")))
        self.number, self.text, self.messages = 0, "", []
        self.wait(lambda event: isinstance(event, AcceptConnection))

    def wait(self, wanted):
        while True:
            data = self.socket.recv(1 << 16)
            self.connection.receive_data(data)
            found = False
            for event in self.connection.events():
                found |= bool(wanted(event))
                if isinstance(event, TextMessage):
                    self.text += event.data
                    if event.message_finished:
                        self.messages.append(json.loads(self.text))
                        self.text = ""
            if found or self.messages:
                return

    def call(self, method, **params):
        self.number += 1
        text = json.dumps({"id": self.number, "method": method, "params": params})
        self.socket.sendall(self.connection.send(TextMessage(data=text)))
        while True:
            for message in self.messages:
                if message.get("id") == self.number:
                    self.messages = []
                    return message
            self.messages = []
            self.wait(lambda event: False)

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        result = answer["result"]
        if "exceptionDetails" in result:
            sys.exit(f"{result['exceptionDetails']}")
        return result["result"].get("value")


page = get("/json/new?about:blank", "PUT")
tools = get(f"/json/new?devtools://devtools/bundled/inspector.html?ws=127.0.0.1:{PORT}/devtools/page/{page['id']}", "PUT")
time.sleep(8)
inspector = Session(tools["id"])
Session(page["id"]).call("Page.navigate", url="https://127.0.0.1:18444/")
time.sleep(8)
print(inspector.evaluate("""(async () => {
  const logs = await import('./models/logs/logs.js');
  const har = await import('./models/har/har.js');
  const requests = logs.NetworkLog.NetworkLog.instance().requests();
  await Promise.all(requests.map(request => request.requestContentData()));
  const progress = {
    isCanceled: () => false, setTitle() {}, setTotalWork() {}, setWorked() {}, incrementWorked() {}, done() {},
    createSubProgress: () => progress,
  };
  let text = '';
  const stream = {write: async piece => { text += piece; }, close() {}};
  await har.Writer.Writer.write(stream, requests, {sanitize: false}, progress);
  return text;
})()"""))
