#!/bin/sh
# Where the processor's time of a running divulge goes, as a flame graph:
#
#   benches/flame.sh OUT.svg [SECONDS]        of the one divulge that runs, while something loads it (benches/peers.sh, for one)
#
# Needs perf (Debian: linux-perf) and inferno (cargo install inferno).
set -eu
[ $# -gt 0 ] || { echo "flame.sh: needs the file to write" >&2; exit 2; }
for program in perf inferno-collapse-perf inferno-flamegraph; do
  command -v "$program" >/dev/null || { echo "flame.sh: needs $program" >&2; exit 2; }
done
process=$(pgrep -x divulge) || { echo "flame.sh: no divulge runs" >&2; exit 2; }
data=$(mktemp)
trap 'rm -f "$data" "$data.folded"' EXIT
perf record -q -F 1999 --call-graph dwarf,16384 -p "$process" -o "$data" -- sleep "${2:-30}"
perf script --no-inline -i "$data" 2>/dev/null | inferno-collapse-perf | sed 's/\[unknown\];//g' > "$data.folded"
inferno-flamegraph --title "$(basename "$1" .svg)" --minwidth 0.3 "$data.folded" > "$1"
