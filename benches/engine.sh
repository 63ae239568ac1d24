#!/bin/sh
# The engine's time as a share of serde_json's, body by body, from one run of `cargo bench --bench engine`:
#
#   benches/engine.sh [--save | --compare] [BODY…]
#
# 1 is as fast as parsing the same bytes to a tree. `--save` keeps the shares in benches/engine.txt, `--compare` prints those that
# were kept beside the new ones: shares hardly depend on the machine, but a busy one moves them by a tenth.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
mode=
case "${1:-}" in
--save | --compare) mode=$1 && shift ;;
--help | -h) sed -n 's/^# \{0,1\}//p' "$0" && exit 0 ;;
esac
target=${CARGO_TARGET_DIR:-target}
filter=$(IFS='|' && echo "$*")
# A fresh folder, so that nothing of an earlier run is taken for this one's.
rm -rf "$target/criterion"
cargo bench --locked --no-default-features --bench engine -- --noplot ${filter:+"$filter"} >&2
exec python3 - "$target/criterion" benches/engine.txt "$mode" <<'PYTHON'
import json, pathlib, sys

root, saved, mode = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
mean = lambda folder: json.loads((folder / "new/estimates.json").read_text())["mean"]["point_estimate"]
shares = {}
for group in sorted(root.iterdir()):
    parse = group / "serde_json"
    if not (parse / "new").is_dir():
        continue
    for folder in sorted(found.parent.parent for found in group.glob("**/new/estimates.json")):
        if folder != parse:
            name = "/".join(folder.relative_to(root).parts)
            shares[name] = (mean(parse) / mean(folder), mean(folder) / 1e6)
before = {}
if saved.exists():
    before = {line.rsplit(None, 1)[0]: line.rsplit(None, 1)[1] for line in saved.read_text().splitlines() if line[:1] != "#"}
print(f"{'':44}{'share':>8}{'ms':>10}" + (f"{'saved':>10}" if mode == "--compare" else ""))
for name, (share, time) in shares.items():
    print(f"{name:44}{share:8.3f}{time:10.3f}" + (f"{before.get(name, '-'):>10}" if mode == "--compare" else ""))
if mode == "--save":
    lines = ["# Shares of serde_json, by `benches/engine.sh --save`: the time of parsing over the time of what is named."]
    saved.write_text("\n".join(lines + [f"{name:44}{share:8.3f}" for name, (share, _) in shares.items()]) + "\n")
if not shares:
    sys.exit("engine.sh: nothing was measured")
PYTHON
