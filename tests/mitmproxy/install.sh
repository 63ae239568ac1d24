#!/usr/bin/env bash
# Installs a pinned mitmproxy and prints the path of the Python that has it.
#
#   tests/mitmproxy/install.sh 10.4.2|11.0.2|12.3.1
#
# Where: ${DIVULGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/divulge}/mitmproxy/<version>. The second run finds it there and
# does nothing. Packages come from pip's configured index, as wheels: the one that has none is Python alone.
#
# Exit status 77: no Python here is new enough for that version (12 needs Python 3.12).
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: install.sh VERSION" >&2; exit 2; }
version=$1
case $version in
  10.4.2 | 11.0.2) least=10 ;;
  12.3.1) least=12 ;;
  *) echo "install.sh: unknown version '$version'" >&2; exit 2 ;;
esac

cache=${DIVULGE_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set DIVULGE_CACHE to a folder}/.cache}/divulge}
folder=$cache/mitmproxy/$version
installed() { [[ -f $folder/complete ]]; }
if installed; then
  printf '%s\n' "$folder/bin/python"
  exit 0
fi

mkdir -p "$cache/mitmproxy"
# Two runs side by side: the second waits and then finds the first one's work.
if command -v flock >/dev/null; then
  exec 9>"$cache/mitmproxy/.lock-$version"
  flock 9
  if installed; then
    printf '%s\n' "$folder/bin/python"
    exit 0
  fi
fi

python=
for candidate in python3 python3.13 python3.12 python3.11 python3.10 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-3].*/bin/python3; do
  # Wheels are there for these; the newest Python may have none yet.
  if "$candidate" -c "import ensurepip, sys, venv; sys.exit(not 10 <= $least <= sys.version_info[1] <= 13)" 2>/dev/null; then
    python=$candidate
    break
  fi
done
[[ -n $python ]] || { echo "install.sh: mitmproxy $version needs Python 3.$least to 3.13 with venv" >&2; exit 77; }

# A venv names its own place, so it is made there; `complete` says that it is whole.
rm -rf "$folder"
echo "installing mitmproxy $version (once, into $folder)" >&2
"$python" -m venv "$folder" >&2
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-binary pyperclip "mitmproxy==$version" >&2
: >"$folder/complete"
printf '%s\n' "$folder/bin/python"
