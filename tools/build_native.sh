#!/usr/bin/env bash
# Builds the native packet step (appliance/native/crate) into appliance/native, where Python finds it.
# Nothing is done when the sources have not changed. Without cargo, or with one that is too old for the crate, it says so
# and the engine runs in pure Python.
set -euo pipefail
cd "$(dirname "$0")/.."

crate=appliance/native/crate
module=appliance/native/_native.abi3.so
cache=${XDG_CACHE_HOME:-$HOME/.cache}/waypost/native

say() { printf 'setup: %s\n' "$*" >&2; }

find_cargo() { PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin" command -v cargo; }

if ! cargo=$(find_cargo); then
  say "no cargo here: the native packet step is not built, the userspace engine runs in pure Python"
  exit 0
fi
PATH="$PATH:$(dirname "$cargo")"

needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$crate/Cargo.toml")
found=$(rustc --version 2>/dev/null | cut -d' ' -f2 || true)
if [ "$(printf '%s\n' "$needed" "${found:-0}" | sort -V | head -n 1)" != "$needed" ]; then
  say "Rust is too old here (${found:-no rustc}, $needed is needed): the native packet step is not built," \
    "the userspace engine runs in pure Python"
  exit 0
fi

# What the module is made of: sources, the lock file, this script, compiler, machine, C library.
wanted=$({
  find "$crate" -type f -not -path '*/target/*' -print0 | sort -z | xargs -0 sha256sum
  sha256sum tools/build_native.sh
  rustc --version --verbose
  uname -m
  getconf GNU_LIBC_VERSION || true
} | sha256sum | cut -d' ' -f1)

if [ -f "$module" ] && [ "$(cat build/native/stamp 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi

place() { # a rename, so that a process which has the old module loaded keeps it whole
  cp "$1" "$module.$$"
  mv "$module.$$" "$module"
  mkdir -p build/native
  printf '%s' "$wanted" >build/native/stamp
}

if [ -f "$cache/$wanted.so" ]; then
  place "$cache/$wanted.so"
  say "native packet step taken from $cache"
  exit 0
fi

say "building the native packet step with $("$cargo" --version); about a minute the first time"
started=$SECONDS
log=$(mktemp)
if ! CARGO_TARGET_DIR="$PWD/build/native/target" CARGO_NET_RETRY=5 \
  "$cargo" build --release --locked --manifest-path "$crate/Cargo.toml" -p waypost-native >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  say "cargo failed; its full output is in $log"
  exit 1
fi
rm -f "$log"
place build/native/target/release/lib_native.so
mkdir -p "$cache"
find "$cache" -name '*.so' -mtime +30 -delete
cp "$module" "$cache/$wanted.so.$$" && mv "$cache/$wanted.so.$$" "$cache/$wanted.so"
say "native packet step built ($((SECONDS - started)) s)"
