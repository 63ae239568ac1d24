# requests and httpx over HTTP/1.1: a body there and back, and a stream.
import sys
import httpx, requests

base, machine = "https://api.example.com", sys.argv[1]
with requests.Session() as session:
    for _ in range(2):
        answer = session.post(base + "/v1", json={"requests": machine})
        answer.raise_for_status()
        assert answer.json() == {"requests": machine}, answer.text
    lines = [line for line in session.get(base + "/stream", stream=True).iter_lines() if line]
    assert lines == [b"data: 1", b"data: 2"], lines
with httpx.Client() as client:
    answer = client.post(base + "/v1", json={"httpx": machine})
    assert answer.json() == {"httpx": machine}, answer.text
    with client.stream("GET", base + "/stream") as stream:
        assert "".join(stream.iter_text()) == "data: 1\n\ndata: 2\n\n"
print("fine")
