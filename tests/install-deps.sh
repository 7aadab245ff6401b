#!/usr/bin/env bash
# Installs what building and testing need and what is missing: a C compiler (for SQLite) and a D-Bus daemon.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(gcc)
command -v dbus-daemon >/dev/null || missing+=(dbus-daemon)
command -v busctl >/dev/null || missing+=(systemd)
if ! command -v cargo >/dev/null; then
    echo "install-deps: cargo is missing; install Rust 1.89 or later (rustup.rs, or the distribution's package)" >&2
    exit 1
fi
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-deps: ${missing[*]} missing, and neither root nor sudo to install them" >&2
        exit 1
    fi
    as_root=(sudo)
fi
if command -v apt-get >/dev/null; then
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" apt-get install -y -q --no-install-recommends gcc libc6-dev dbus systemd
elif command -v dnf >/dev/null; then
    "${as_root[@]}" dnf install -y -q gcc glibc-devel dbus-daemon systemd
else
    echo "install-deps: install ${missing[*]} with this system's package manager" >&2
    exit 1
fi
