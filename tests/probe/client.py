#!/usr/bin/env python3
"""A made-up client: gives away its zone in clear, its host name as a digest, and behind a foreign base URL its locale by
one character of the prompt. All else that it sends is drawn anew."""

import hashlib
import json
import os
import random
import socket
import urllib.request
import uuid

base = os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
chinese = os.environ.get("LC_ALL", "").startswith("zh")
mark = "\u2019" if chinese and base != "https://api.anthropic.com" else "'"


def send(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


send(base + "/v1/messages", {
    "model": "made-up-1",
    "max_tokens": 10,
    "session": str(uuid.uuid4()),
    "messages": [{"role": "user", "content": f"Today{mark}s task, number {random.randrange(10**6)}: say hello."}],
})
if not os.environ.get("MADE_UP_QUIET"):
    send("https://reports.example.com/v1/events", {
        "id": random.randrange(10**9),
        "zone": os.path.realpath("/etc/localtime").split("zoneinfo/")[-1] if "TZ" not in os.environ else os.environ["TZ"],
        "machine": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16],
    })
