#!/usr/bin/env bash
# Records chromium.har anew: what the network panel of a real Chromium exports ("with sensitive data") of page.py's page,
# loaded over HTTP/2.
#
#   tests/captures/chromium.sh        with chromium
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$("$here/../mitmproxy/install.sh" 12.3.1)
work=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; sleep 1; rm -rf "$work"' EXIT
python3 "$here/page.py" &
started+=($!)
# Speaks HTTP/2 with the browser.
HOME=$work "$(dirname "$python")/mitmdump" -q --set confdir="$work/conf" --mode reverse:http://127.0.0.1:18090@127.0.0.1:18444 2>/dev/null &
started+=($!)
# Without its sandbox it also runs as root; it loads nothing but the page here.
HOME=$work chromium --headless --no-sandbox --disable-gpu --ignore-certificate-errors --user-data-dir="$work/profile" \
  --remote-debugging-port=18222 --remote-allow-origins='*' --no-first-run about:blank >"$work/log" 2>&1 &
started+=($!)
until (: >/dev/tcp/127.0.0.1/18222) 2>/dev/null && (: >/dev/tcp/127.0.0.1/18444) 2>/dev/null; do sleep 0.5; done
"$python" "$here/chromium.py" >"$work/chromium.har"
mv "$work/chromium.har" "$here/chromium.har"
