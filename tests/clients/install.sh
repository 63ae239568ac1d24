#!/usr/bin/env bash
# Installs a pinned real client and prints the folder it is in; its command is in that folder's bin/.
#
#   tests/clients/install.sh claude-code|codex|gemini-cli|qwen-code|qoder|copilot|opencode|cursor-sdk
#
# Where: ${DIVULGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/divulge}/clients/<name>-<version>. The second run finds it
# there and does nothing. Packages come from npm's configured registry, each checked against the digest in `pinned`; no
# script of a package is run, and no dependency is resolved: these clients need none but their platform package. The
# Cursor SDK comes from PyPI, each of its wheels checked against the digest in `cursor-sdk.txt`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  printf 'install.sh: %s\n' "$@" >&2
  exit 3
}

[[ $# -eq 1 ]] || { echo "usage: install.sh claude-code|codex|gemini-cli|qwen-code|qoder|copilot|opencode|cursor-sdk" >&2; exit 2; }
name=$1

# The client's line for this platform, its command, and what must not be a small placeholder afterwards.
version=$(awk -v name="$name" '$1 == name { print $2; exit }' "$here/pinned")
[[ -n $version ]] || { echo "install.sh: unknown client '$name'; known: $(awk '!/^#/ { print $1 }' "$here/pinned" | sort -u | paste -sd' ')" >&2; exit 2; }
case $name in
  claude-code) command=claude needs_platform=yes ;;
  codex) command=codex needs_platform=yes ;;
  gemini-cli) command=gemini needs_platform=no ;;
  qwen-code) command=qwen needs_platform=no ;;
  qoder) command=qodercli needs_platform=no ;;
  copilot) command=copilot needs_platform=yes ;;
  opencode) command=opencode needs_platform=yes ;;
  cursor-sdk) command=cursor-agent needs_platform=no ;;
esac

cache=${DIVULGE_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set DIVULGE_CACHE to a folder}/.cache}/divulge}
folder=$cache/clients/$name-$version
installed() { [[ -x $folder/bin/$command && -f $folder/complete ]]; }
if installed; then
  printf '%s\n' "$folder"
  exit 0
fi

[[ $(uname -s) == Linux ]] || fail "clients are installed on Linux only: elsewhere they could not be run sealed"
case $(uname -m) in
  x86_64) platform=linux-x64 ;;
  aarch64 | arm64) platform=linux-arm64 ;;
  *) fail "no client package is pinned for $(uname -m)" ;;
esac
if [[ $name == claude-code ]] && ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
  platform+=-musl
fi
for tool in node npm tar; do
  command -v "$tool" >/dev/null || fail "$tool is missing; install Node.js 20 or later with npm (Debian: apt-get install nodejs npm)"
done
node -e 'process.exit(parseInt(process.versions.node, 10) < 20 ? 1 : 0)' ||
  fail "node $(node --version) is too old; the clients need Node.js 20 or later"

mkdir -p "$cache/clients"
# Two runs side by side: the second waits and then finds the first one's work.
if command -v flock >/dev/null; then
  exec 9>"$cache/clients/.lock-$name"
  flock 9
  if installed; then
    printf '%s\n' "$folder"
    exit 0
  fi
fi

# Built beside its place and moved there in one step, so that a broken-off run leaves nothing half done.
staging=$(mktemp -d "$cache/clients/.new-$name.XXXXXX")
trap 'rm -rf "$staging"' EXIT
tree=$staging/tree
mkdir -p "$tree/bin"
echo "installing $name $version for $platform (once, into $folder)" >&2

fetch() { # package, where, sha512
  local package=$1 to=$tree/node_modules/$2 digest=$3 archive found
  if ! archive=$(cd "$staging" && npm pack "$package" --silent --ignore-scripts 2>"$staging/log"); then
    sed 's/^/  /' "$staging/log" >&2
    fail "npm could not fetch $package (its words are above)" \
      "the network or the registry is out of reach; npm uses: $(npm config get registry 2>/dev/null)"
  fi
  archive=$staging/${archive##*$'\n'}
  found=$(node -e 'process.stdout.write(require("crypto").createHash("sha512").update(require("fs").readFileSync(process.argv[1])).digest("base64"))' "$archive")
  [[ $found == "$digest" ]] || fail "$package is not the pinned one: sha512 $found, expected $digest"
  mkdir -p "$to"
  # npm packages hold one top folder, nearly always called "package".
  tar -xzf "$archive" --strip-components=1 --no-same-owner -C "$to"
  rm -f "$archive"
}

platforms=0
while read -r client _ for package where digest; do
  [[ $client == "$name" ]] || continue
  [[ $for == any || $for == "$platform" ]] || continue
  [[ $package != pypi ]] || continue
  [[ $for == any ]] || platforms=$((platforms + 1))
  fetch "$package" "$where" "$digest"
done <"$here/pinned"
[[ $needs_platform == no || $platforms -gt 0 ]] || fail "no $name package is pinned for $platform"

if [[ $name == cursor-sdk ]]; then
  python3 -m venv "$staging/venv" 2>"$staging/log" ||
    fail "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)" "$(tail -1 "$staging/log")"
  if ! "$staging/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --target "$tree/python" -r "$here/cursor-sdk.txt" 2>"$staging/log"; then
    sed 's/^/  /' "$staging/log" >&2
    fail "pip could not install $name (its words are above)"
  fi
  found=$(sed -n 's/^Version: //p' "$tree"/python/cursor_sdk-*.dist-info/METADATA)
  [[ $found == "$version" ]] || fail "installed $name says it is $found, expected $version"
  cp "$here/cursor.py" "$tree/python/turn.py"
  cat >"$tree/bin/$command" <<'END'
#!/usr/bin/env bash
python=$(dirname "$(readlink -f "$0")")/../python
PYTHONPATH=$python exec python3 "$python/turn.py" "$@"
END
  chmod +x "$tree/bin/$command"
else
  modules=$tree/node_modules
  case $name in
    claude-code)
      # The main package holds a placeholder, which its install script would replace by the platform's program.
      ln -f "$modules/@anthropic-ai/claude-code-$platform/claude" "$modules/@anthropic-ai/claude-code/bin/claude.exe"
      entry=@anthropic-ai/claude-code/bin/claude.exe ;;
    codex) entry=@openai/codex/bin/codex.js ;;
    gemini-cli) entry=@google/gemini-cli/bundle/gemini.js ;;
    qwen-code) entry=@qwen-code/qwen-code/cli-entry.js ;;
    qoder) entry=@qoder-ai/qodercli/bundle/qodercli.js ;;
    copilot) entry=@github/copilot-$platform/copilot ;;
    opencode) entry=opencode-$platform/bin/opencode ;;
  esac
  [[ -f $modules/$entry ]] || fail "$name $version holds no $entry"
  chmod +x "$modules/$entry"
  ln -s "../node_modules/$entry" "$tree/bin/$command"
  about=${entry%%/*}
  [[ $entry != @* ]] || about=$(echo "$entry" | cut -d/ -f1,2)
  found=$(node -p 'require(process.argv[1]).version' "$modules/$about/package.json")
  [[ $found == "$version" ]] || fail "installed $name says it is $found, expected $version"
fi
: >"$tree/complete"

# A folder that is not complete is left from another tool or a hand; ours are complete by construction.
[[ ! -e $folder ]] || installed || rm -rf "$folder"
mv -T "$tree" "$folder" 2>/dev/null || installed || fail "cannot move $name to $folder"
printf '%s\n' "$folder"
