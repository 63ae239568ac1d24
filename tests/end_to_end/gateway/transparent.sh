#!/usr/bin/env bash
# A gateway and a client in network namespaces of their own, joined by a cable, with nothing else to reach.
#
#   transparent.sh DIVULGE FOLDER BODY
#
# The client knows of no proxy: it connects to addresses that exist nowhere, and rules at the gateway take it to divulge, once
# by redirect and once by TPROXY, over IPv4 and over IPv6: those that `divulge nftables` prints. One request goes by CONNECT, to compare. To be run in a namespace
# that is its own (unshare -n).
set -euo pipefail
divulge=$1 folder=$2 body=$3
host=api.anthropic.com

ip link set lo up
unshare -n sleep 60 &
client=$!
trap 'kill $client $gateway 2>/dev/null || true' EXIT
gateway=
for _ in $(seq 2000); do
    [ "$(readlink /proc/$client/ns/net)" != "$(readlink /proc/self/ns/net)" ] && [ "$(cat /proc/$client/comm)" = sleep ] && break
done
inside() { nsenter -t "$client" -n "$@"; }

ip link add gw type veth peer name cable netns "$client"
ip addr add 10.9.0.1/24 dev gw
ip addr add fd09::1/64 dev gw nodad
ip link set gw up
inside ip link set lo up
inside ip addr add 10.9.0.2/24 dev cable
inside ip addr add fd09::2/64 dev cable nodad
inside ip link set cable up
inside ip route add default via 10.9.0.1
inside ip -6 route add default via fd09::1

rules() { "$divulge" nftables --config "$folder/config.toml" --interface gw "$@"; }
cat >"$folder/config.toml" <<'SETTINGS'
[gateway]
transparent = "[::]:9443"
tproxy = "[::]:9444"
allow-from = ["10.9.0.0/24", "fd09::/64"]
SETTINGS
# Every form that is generated is one that nftables takes.
for port in '--transparent=[::]:1' --transparent=10.9.0.1:1 '--transparent=[fd09::1]:1' \
    '--tproxy=[::]:1' --tproxy=0.0.0.0:1 --tproxy=10.9.0.1:1 '--tproxy=[fd09::1]:1'; do
    for mode in redirect tproxy; do
        rules --mode $mode "$port" --to 198.51.100.0/24,203.0.113.0/24,2001:db8::/32 2>/dev/null | nft -c -f -
    done
done

mkfifo "$folder/out"
"$divulge" serve --offline --config "$folder/config.toml" --listen 10.9.0.1:9080 --state "$folder/state" --findings "$folder/findings.jsonl" \
    --facts "$folder/facts.json" >"$folder/out" 2>"$folder/err" &
gateway=$!
exec 3<"$folder/out"
while read -r line <&3; do
    case $line in 'listening on '*) break ;; esac
done

ask() {
    inside curl -sS --fail --noproxy '' --max-time 8 --cacert "$folder/state/ca.pem" -o "$folder/answer" "$@" \
        -H 'content-type: application/json' -H 'x-api-key: dummy' -H 'anthropic-version: 2023-06-01' -d "$body" \
        "https://$host/v1/messages"
}
ask -x http://10.9.0.1:9080
rules --mode redirect | nft -f -
for address in 203.0.113.7 '[2001:db8::7]'; do
    ask --resolve "$host:443:$address"
done
# Loaded over the others, these replace them.
rules --mode tproxy | nft -f -
rules --mode tproxy --routes | sh -e
for address in 203.0.113.8 '[2001:db8::8]'; do
    ask --resolve "$host:443:$address"
done
if nft list ruleset | grep -q redirect; then
    echo 'the rules of before are still there' >&2
    exit 1
fi
# One that nobody redirected, straight at the port: closed.
if ask --connect-to "$host:443:10.9.0.1:9443" 2>/dev/null; then
    echo 'a connection to the transparent port itself was served' >&2
    exit 1
fi
kill "$gateway"
wait "$gateway"

# What is not decrypted goes on to just the address that was meant: nothing here knows the name.
other=other.example.org
for address in 203.0.113.9/32 2001:db8::9/128; do ip addr add "$address" dev lo; done
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj "/CN=$other" -addext "subjectAltName=DNS:$other" -keyout "$folder/other.key" \
    -out "$folder/other.pem" 2>/dev/null
openssl s_server -accept 443 -www -quiet -cert "$folder/other.pem" -key "$folder/other.key" >/dev/null 2>&1 &
server=$!
trap 'kill $client $gateway $server 2>/dev/null || true' EXIT
"$divulge" serve --config "$folder/config.toml" --listen 10.9.0.1:9080 --state "$folder/state" --findings "$folder/others.jsonl" \
    >"$folder/out" 2>"$folder/err" &
gateway=$!
exec 3<"$folder/out"
while read -r line <&3; do
    case $line in 'listening on '*) break ;; esac
done
for _ in $(seq 2000); do
    if (exec 4<>/dev/tcp/203.0.113.9/443) 2>/dev/null; then break; fi
done
for mode in redirect tproxy; do
    rules --mode $mode | nft -f -
    for address in 203.0.113.9 '[2001:db8::9]'; do
        inside curl -sS --fail --noproxy '' --max-time 8 --cacert "$folder/other.pem" --resolve "$other:443:$address" "https://$other/" |
            grep -q 'Accepted\|Protocol' || { echo "$address by $mode did not go on to its own server" >&2; exit 1; }
    done
done
kill "$gateway"
wait "$gateway"
