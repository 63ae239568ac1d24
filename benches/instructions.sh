#!/bin/sh
# Instructions that one audit takes, for every case or those named:
#
#   benches/instructions.sh [CASE ...]        counts; `+turn`: its texts were in the request before, `+again`: so was all of it
#   PROFILE=1 benches/instructions.sh CASE    and where they are spent, by function
#
# Counted by callgrind (Debian: valgrind), once everything is warm. A regression shows here on a machine whose clock says nothing.
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "instructions.sh: needs valgrind" >&2; exit 2; }
target=${CARGO_TARGET_DIR:-target/bench}
program=$(cargo bench --locked --no-default-features --target-dir "$target" --bench instructions --no-run --message-format=json |
  sed -n 's/.*"name":"instructions".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$program" ] || { echo "instructions.sh: the bench does not build" >&2; exit 2; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT
count=${COUNT:-10}

[ $# -gt 0 ] || set -- head small-2k small-2k+turn small-2k+again small-2k/strict quiet-6k no-hit-200k \
  request-200k request-200k+turn request-200k+again dense-200k dense-200k+turn nested-200k
printf '%-24s %16s\n' case 'instructions'
for case in "$@"; do
  all=$(valgrind --tool=callgrind --toggle-collect='*warm_audits*' --callgrind-out-file="$out" "$program" "$case" "$count" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p')
  printf '%-24s %16d\n' "$case" $((all / count))
  if [ -n "${PROFILE:-}" ]; then
    callgrind_annotate ${PROFILE_OPTIONS:-} "$out" | cut -c 1-240 | sed -n '/^ *Ir/,$p' | head -n "${LINES_SHOWN:-60}"
  fi
done
