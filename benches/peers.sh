#!/bin/sh
# The table of peers of docs/performance.md: CPU of divulge, inspecting with all packs and facts, beside other proxies.
#
#   benches/peers.sh HARNESS [OPTIONS OF run.py]      HARNESS: the folder with the comparison harness (its README says what it needs)
#
# Everything is on loopback. What is built and written goes to target/peers; POLICY, SCENARIOS, PEERS, ROUNDS and SECS may be set.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] && [ -f "$1/run.py" ] || { echo "peers.sh: needs the folder of the harness, the one with run.py" >&2; exit 2; }
harness=$1
shift
work=$here/target/peers
mkdir -p "$work"
cat > "$work/facts.json" <<'FACTS'
[{"kind":"user.name","value":"anderson"},{"kind":"path.home","value":"/home/anderson"},{"kind":"tz.iana","value":"Asia/Shanghai"},
 {"kind":"host.name","value":"build-box-17"},{"kind":"git.email","value":"ann@acme.example"},{"kind":"os.kernel","value":"6.1.0-18-amd64"}]
FACTS
cargo build --release --locked --manifest-path "$here/Cargo.toml"
# The harness builds where it lies, so a copy of it does.
rm -rf "$work/harness" && cp -r "$harness" "$work/harness" && chmod -R u+w "$work/harness"
command="$here/target/release/divulge serve --listen 127.0.0.1:{port} --state $work/state --ca-cert {ca} --ca-key {key}
  --upstream-ca {upstream_ca} --facts $work/facts.json --policy ${POLICY:-audit} --intercept all --dial-allow 127.0.0.0/8 --quiet"
BENCH_WORK=$work/run exec python3 "$work/harness/run.py" --target-dir "$work/build" \
  --peers "${PEERS:-nginx,floor-relay,hudsucker-nodelay,http-mitm-proxy}" \
  --scenarios "${SCENARIOS:-idle1000,small-h1,small-h2,post200k,post1m,conn-same,conn-uniq,sse20,sse200}" \
  --rounds "${ROUNDS:-3}" --secs "${SECS:-2}" --cmd "$command" "$@"
