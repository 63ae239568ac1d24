#!/bin/sh
# Instructions that one audit takes, for every case or those named:
#
#   benches/instructions.sh [CASE ...]        counts; `+turn`: its texts were in the request before, `+again`: so was all of it,
#                                             `+learned`: as `+turn`, and how its client spells requests is known and learned
#   benches/instructions.sh --compare [CASE ...]   beside those saved in instructions.txt; fails where one is more than 2 % above
#   benches/instructions.sh --save            saves them, once a change that costs more is meant
#   PROFILE=1 benches/instructions.sh CASE    and where they are spent, by function
#
# `rules-N`: the 2 KB with N rules of a pack beside the built-in ones. `session-N`: all N turns of a conversation, each of which holds
# those before it; `+alone`: each turn by itself.
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

saved=$PWD/benches/instructions.txt
compare=false save=false failed=false
case "${1-}" in
  --compare) compare=true; shift ;;
  --save) save=true; shift ;;
esac
if [ $# -eq 0 ] && $compare; then
  # shellcheck disable=SC2046
  set -- $(sed -n 's/^\([^# ][^ ]*\) .*/\1/p' "$saved")
fi
[ $# -gt 0 ] || set -- head small-2k small-2k+turn small-2k+again small-2k/balanced small-2k/strict quiet-6k no-hit-200k \
  request-200k request-200k+turn request-200k+learned request-200k+again request-200k/balanced request-200k/strict dense-200k dense-200k+turn nested-200k \
  rules-1 rules-10 rules-100 rules-1000 session-10 session-50 session-50+alone
if $save; then
  printf '# Instructions of one audit (session-N: of N), by `benches/instructions.sh --save`, with %s.\n' "$(rustc --version | cut -d ' ' -f 1-2)" > "$saved.new"
fi
printf '%-24s %16s\n' case 'instructions'
for case in "$@"; do
  all=$(valgrind --tool=callgrind --toggle-collect='*warm_audits*' --callgrind-out-file="$out" "$program" "$case" "$count" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p')
  number=$((all / count))
  line=$(printf '%-24s %16d' "$case" "$number")
  if $save; then printf '%s\n' "$line" >> "$saved.new"; fi
  before=$(sed -n "s|^$case  *\([0-9]*\)\$|\1|p" "$saved" 2>/dev/null || true)
  if $compare && [ -n "$before" ]; then
    # In hundredths of a per cent, since a shell has no fractions.
    change=$(((number - before) * 10000 / before))
    if [ "$change" -gt $((${ALLOWED:-2} * 100)) ]; then failed=true mark=' MORE'; else mark=; fi
    sign=+
    if [ "$change" -lt 0 ]; then sign=- change=$((-change)); fi
    line=$(printf '%s  %s%d.%02d%%%s' "$line" "$sign" $((change / 100)) $((change % 100)) "$mark")
  fi
  printf '%s\n' "$line"
  if [ -n "${PROFILE:-}" ]; then
    callgrind_annotate ${PROFILE_OPTIONS:-} "$out" | cut -c 1-240 | sed -n '/^ *Ir/,$p' | head -n "${LINES_SHOWN:-60}"
  fi
done
if $save; then mv "$saved.new" "$saved"; fi
if $failed; then
  echo "instructions.sh: more than ${ALLOWED:-2} % above $saved" >&2
  exit 1
fi
