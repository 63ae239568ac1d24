#!/usr/bin/env bash
# Runs a command in a sealed room: emptied environment, throw-away HOME, and a network of loopback alone.
#
#   tests/clients/sealed.sh [--host NAME] [NAME=VALUE…] -- CMD…
#
# The environment holds PATH, HOME, TERM, LANG and the variables given, nothing else. The room proves before CMD starts
# that it has no network device but loopback and no route out. HOME is a new folder that is removed at the end; the exit
# status is CMD's. --host gives the room a host name of its own. Where the system allows no namespace, nothing is run
# (status 3).
set -euo pipefail

fail() {
  printf 'sealed.sh: %s\n' "$@" >&2
  exit 3
}

raise_loopback() {
  ip link set lo up 2>/dev/null && return
  # Without iproute2: SIOCSIFFLAGS (0x8914) with IFF_UP | IFF_RUNNING (0x41).
  python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, struct.pack("16sh14x", b"lo", 0x41))' 2>/dev/null && return
  perl -e 'use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0) or exit 1;
my $r = pack("a16 s x14", "lo", 0x41); ioctl($s, 0x8914, $r) or exit 1' 2>/dev/null && return
  ifconfig lo up 2>/dev/null && return
  fail "cannot bring loopback up: none of ip (iproute2), python3, perl and ifconfig could"
}

prove_sealed() {
  local devices routes
  devices=$(awk -F: 'NR > 2 { gsub(/ /, "", $1); print $1 }' /proc/net/dev)
  [[ $devices == lo ]] || fail "the room is not sealed, it has network devices besides loopback: ${devices//$'\n'/ }"
  routes=$(awk 'NR > 1 && $1 != "lo" { print $1 }' /proc/net/route
    [[ ! -r /proc/net/ipv6_route ]] || awk '$NF != "lo" { print $NF }' /proc/net/ipv6_route)
  [[ -z $routes ]] || fail "the room is not sealed, it has routes out through: ${routes//$'\n'/ }"
}

# Services that would look up names outside for us listen on socket files, which a network namespace does not close.
close_sockets() {
  local folder
  for folder in /run/nscd /var/run/nscd /run/systemd/resolve /run/dbus /run/avahi-daemon; do
    [[ ! -d $folder ]] || mount -t tmpfs -o size=64k none "$folder" 2>/dev/null ||
      echo "sealed.sh: note: cannot hide $folder from the room" >&2
  done
}

if [[ ${1:-} == --inside ]]; then # outer namespace, HOME, host name or nothing, then variables -- CMD
  outer=$2 home=$3 host=$4
  shift 4
  [[ $(readlink /proc/self/ns/net) != "$outer" ]] || fail "the room is not sealed, it shares the network outside"
  close_sockets
  raise_loopback
  prove_sealed
  [[ -z $host ]] || hostname "$host" 2>/dev/null || printf '%s' "$host" >/proc/sys/kernel/hostname
  variables=()
  while [[ $1 != -- ]]; do
    variables+=("$1")
    shift
  done
  shift
  exec env -i "PATH=$PATH" "HOME=$home" "TERM=${TERM:-dumb}" "LANG=${LANG:-C.UTF-8}" "${variables[@]}" "$@"
fi

usage() {
  echo "usage: sealed.sh [--host NAME] [NAME=VALUE…] -- CMD…" >&2
  exit 2
}

host=
variables=()
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    --host) [[ $# -gt 1 ]] || usage; host=$2; shift 2 ;;
    [A-Za-z_]*=*) variables+=("$1"); shift ;;
    *) usage ;;
  esac
done
[[ $# -gt 1 ]] || usage

[[ $(uname -s) == Linux ]] || fail "needs the namespaces of Linux; nothing was run"
command -v unshare >/dev/null || fail "unshare is missing (Debian: apt-get install util-linux); nothing was run"
flags=()
reason=
# Root needs no user namespace, unless it is a container's root without the right to make others.
tries=("--user --map-root-user --net --mount --uts")
[[ $(id -u) -ne 0 ]] || tries=("--net --mount --uts" "${tries[@]}")
for try in "${tries[@]}"; do
  read -ra attempt <<<"$try"
  if reason=$(unshare "${attempt[@]}" -- "$BASH" -c : 2>&1); then
    flags=("${attempt[@]}")
    break
  fi
done
if [[ ${#flags[@]} -eq 0 ]]; then
  fail "this system allows no network namespace, so nothing was run: ${reason:-unshare failed}" \
    "to allow it, whichever applies:" \
    "  in a container:     docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined …" \
    "  Ubuntu 23.10+:      sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" \
    "  older Debian:       sudo sysctl -w kernel.unprivileged_userns_clone=1" \
    "  namespaces used up: sudo sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000" \
    "  or run it as root"
fi

home=$(mktemp -d "${TMPDIR:-/tmp}/divulge-home.XXXXXX")
trap 'rm -rf "$home"' EXIT
# An interrupt from the keyboard reaches the command too; HOME goes after it has ended.
trap : INT TERM HUP
status=0
unshare "${flags[@]}" -- "$BASH" "${BASH_SOURCE[0]}" --inside "$(readlink /proc/self/ns/net)" "$home" "$host" \
  "${variables[@]}" -- "${@:2}" || status=$?
exit "$status"
