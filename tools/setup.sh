#!/usr/bin/env bash
# Makes a fresh Debian 12 machine ready: Debian packages, the Python environment in .venv, the native packet step.
# usage: tools/setup.sh demo|test|qemu|resolvers      Takes seconds when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

purpose=${1:-test}
packages=(python3 python3-venv nftables iproute2 iputils-ping curl util-linux procps)
if [ "$purpose" = test ]; then
  packages+=(wireguard-go wireguard-tools iperf3 conntrack tcpdump ethtool libcap2-bin miniupnpd-nftables chromium fonts-dejavu-core postgresql pebble
    bind9-dnsutils dnsmasq-base libevent-core-2.1-7 libevent-extra-2.1-7 dante-server)
fi

if [ "$purpose" = qemu ]; then
  packages=(qemu-system-x86 qemu-system-common busybox-static kmod)
fi

if [ "$purpose" = resolvers ]; then
  packages=(dbus-daemon systemd dnsmasq-base bind9-dnsutils)
fi

say() { printf 'setup: %s\n' "$*" >&2; }

install_packages() {
  local missing=() package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    say "missing Debian packages; run this once, then call make again:"
    say "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
    exit 1
  fi
  say "installing Debian packages: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "apt-get failed; its full output is in $log"
    exit 1
  fi
  rm -f "$log"
}

# The guest's kernel is unpacked, not installed: this machine goes on booting its own.
fetch_kernel() {
  local place=build/qemu/kernel folder package
  [ -d "$place/boot" ] && return
  folder=$(mktemp -d)
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
  say "fetching the guest's kernel $package"
  if ! (cd "$folder" && apt-get download -q "$package" >/dev/null 2>&1) || ! dpkg -x "$folder"/*.deb "$folder/kernel"; then
    rm -rf "$folder"
    say "could not fetch the kernel package (apt-get update may help)"
    exit 1
  fi
  mkdir -p "$(dirname "$place")"
  mv "$folder/kernel" "$place"
  rm -rf "$folder"
}

download() { (cd "$1" && apt-get download -q "${@:2}" >log 2>&1); }

# Unpacked, not installed: installed, they would take this machine's own resolver over, or serve at its ports. Tests run
# them in namespaces, and two may come here at one time.
unpack_packages() (
  place=$1
  shift
  mkdir -p "$place"
  exec 8>"$place/lock"
  flock 8
  [ -e "$place/complete" ] && exit
  say "fetching for tests: $*"
  folder=$(mktemp -d)
  if ! download "$folder" "$@" && ! { apt-get update -q >/dev/null 2>&1 && download "$folder" "$@"; }; then
    tail -n 5 "$folder/log" >&2
    rm -rf "$folder"
    say "could not fetch the packages $* (apt-get update may help)"
    exit 1
  fi
  mkdir -p "$place/root"
  for package in "$folder"/*.deb; do dpkg -x "$package" "$place/root"; done
  touch "$place/complete"
  rm -rf "$folder"
)

find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  say "no Python 3.11 or newer with ensurepip found (Debian: apt-get install python3 python3-venv)"
  exit 1
}

install_python() {
  local wanted stamp=.venv/.waypost-setup python log
  wanted=$(cat requirements.lock pyproject.toml tools/setup.sh | sha256sum | cut -d' ' -f1)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x .venv/bin/waypost ] && return
  python=$(find_python)
  say "making the Python environment in .venv with $($python --version); about a minute the first time"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  log=$(mktemp)
  if ! { .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock \
      && .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "pip failed; its full output is in $log"
    exit 1
  fi
  rm -f "$log"
  printf '%s' "$wanted" >"$stamp"
}

case $purpose in demo | test | qemu | resolvers) ;; *) say "usage: tools/setup.sh demo|test|qemu|resolvers"; exit 2 ;; esac
started=$SECONDS
install_packages
if [ "$purpose" = qemu ]; then
  fetch_kernel
elif [ "$purpose" = resolvers ]; then
  unpack_packages build/debian systemd-resolved libsystemd-shared network-manager libnm0 libndp0 libmm-glib0 \
    libteamdctl0 libbluetooth3 libnewt0.52
  unpack_packages build/resolvconf resolvconf
  unpack_packages build/openresolv openresolv
else
  if [ "$purpose" = test ]; then
    unpack_packages build/coturn coturn
    unpack_packages build/unbound unbound libevent-2.1-7 libprotobuf-c1 libpython3.11
  fi
  install_python
  if ! tools/build_native.sh; then
    [ "$purpose" = demo ] || exit 1
    say "the demo goes on in pure Python"
  fi
fi
say "ready ($((SECONDS - started)) s)"
