#!/usr/bin/env bash
# Installs what `make build`, `make demo` or `make test` needs and this machine lacks, with apt or dnf.
# Asks for nothing and touches nothing when all is there. Rust itself it only looks for: how to install it is your choice.
set -euo pipefail

oldest_rust=1.89

say() { echo "install-deps: $*" >&2; }

case "${1-}" in
    build) commands=(cc) ;;
    demo) commands=(cc dbus-daemon) ;;
    test) commands=(cc dbus-daemon busctl) ;;
    *)
        say "usage: $0 build|demo|test"
        exit 2
        ;;
esac

if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    say "Rust is missing: install $oldest_rust or newer, for example from https://rustup.rs, and have cargo in PATH"
    exit 1
fi
rust=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$oldest_rust" "$rust" | sort -V | head -n1)" != "$oldest_rust" ]; then
    say "Rust $rust is too old: headstart needs $oldest_rust or newer (rustup update)"
    exit 1
fi

missing=()
for command in "${commands[@]}"; do
    command -v "$command" >/dev/null || missing+=("$command")
done
# A compiler without the headers of libc builds nothing; SQLite is compiled from its source.
if command -v cc >/dev/null && ! echo '#include <stdio.h>' | cc -E -x c - >/dev/null 2>&1; then
    missing+=(headers)
fi
# Time zones: jiff reads the system's.
[ -e /usr/share/zoneinfo/Europe/Berlin ] || missing+=(zoneinfo)
[ ${#missing[@]} -gt 0 ] || exit 0

if command -v apt-get >/dev/null; then
    declare -A package=([cc]=gcc [headers]=libc6-dev [dbus-daemon]=dbus [busctl]=systemd [zoneinfo]=tzdata)
    install=(apt-get install -y --no-install-recommends)
elif command -v dnf >/dev/null; then
    declare -A package=([cc]=gcc [headers]=glibc-devel [dbus-daemon]=dbus-daemon [busctl]=systemd [zoneinfo]=tzdata)
    install=(dnf install -y)
else
    say "missing: ${missing[*]}; there is neither apt-get nor dnf here: install them and start again"
    exit 1
fi
packages=()
for name in "${missing[@]}"; do
    packages+=("${package[$name]}")
    [ "$name" != cc ] || packages+=("${package[headers]}")
done

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        say "missing: ${missing[*]}; we are not root and there is no sudo. As root, run: ${install[*]} ${packages[*]}"
        exit 1
    fi
    as_root=(sudo)
fi
say "installing ${packages[*]}"
if [ "${install[0]}" = apt-get ]; then
    # A fresh machine knows no packages yet.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" "${packages[@]}"
else
    "${as_root[@]}" "${install[@]}" "${packages[@]}"
fi
