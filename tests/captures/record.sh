#!/usr/bin/env bash
# Records loopback.pcapng anew: real packets between a real curl and mitmproxy on loopback, and the keys of their TLS.
#
#   tests/captures/record.sh        as root, with tcpdump, editcap (Debian: wireshark-common) and curl
#
# Nothing leaves the machine: mitmproxy answers by itself. What is sent is invented.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mitmdump=$(dirname "$("$here/../mitmproxy/install.sh" 12.3.1)")/mitmdump
work=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

cat >answer.py <<'PYTHON'
from mitmproxy import http
def request(flow):
    flow.response = http.Response.make(200, b'{"answer":"' + flow.request.path.encode() + b'"}', {"content-type": "application/json"})
PYTHON
env HOME="$work" "$mitmdump" -q -s answer.py --set confdir="$work/conf" --set connection_strategy=lazy \
  --mode regular@127.0.0.1:18080 --mode reverse:https://api.example.com@127.0.0.1:18443 &
started+=($!)
tcpdump -i lo -U -w packets.pcap 'tcp port 18080 or tcp port 18443' 2>tcpdump.log &
started+=($!)
until [[ -s conf/mitmproxy-ca-cert.pem ]] && (: >/dev/tcp/127.0.0.1/18080) 2>/dev/null && grep -q listening tcpdump.log; do sleep 0.2; done

export SSLKEYLOGFILE=$work/keys.log
ca=(--silent --show-error --output /dev/null --cacert conf/mitmproxy-ca-cert.pem)
direct=("${ca[@]}" --connect-to api.example.com:443:127.0.0.1:18443)
json=(--header 'content-type: application/json')
curl "${direct[@]}" --http1.1 "${json[@]}" --data '{"machine":"example-1"}' https://api.example.com/one
curl "${direct[@]}" --http2 "${json[@]}" --data '{"machine":"example-2"}' https://api.example.com/two \
  --next "${direct[@]}" --http2 --header 'cookie: a=1' https://api.example.com/three
curl "${direct[@]}" --http1.1 --tls-max 1.2 --ciphers ECDHE-RSA-AES128-GCM-SHA256 --data '{"machine":"example-4"}' https://api.example.com/four
curl "${direct[@]}" --http2 --tls-max 1.2 --ciphers ECDHE-RSA-CHACHA20-POLY1305 --data '{"machine":"example-5"}' https://api.example.com/five
curl "${ca[@]}" --proxy http://127.0.0.1:18080 --http2 --tls13-ciphers TLS_CHACHA20_POLY1305_SHA256 \
  --data '{"machine":"example-6"}' https://tunnel.example.com/six
curl "${ca[@]}" --proxy http://127.0.0.1:18080 --data '{"machine":"example-7"}' http://plain.example.com/seven
sleep 1
kill "${started[1]}"
wait "${started[1]}" || true
editcap --inject-secrets tls,keys.log packets.pcap "$here/loopback.pcapng"
