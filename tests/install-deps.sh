#!/usr/bin/env bash
# Installs what `make build`, `make demo`, `make test`, `make deb` or `make lab` needs and this machine lacks, with apt or dnf.
# Asks for nothing and touches nothing when all is there. Rust itself it only looks for: how to install it is your choice.
set -euo pipefail

oldest_rust=1.89

say() { echo "install-deps: $*" >&2; }

case "${1-}" in
    build) commands=(cc pkg-config) ;;
    demo) commands=(cc pkg-config dbus-daemon) ;;
    test) commands=(cc pkg-config dbus-daemon busctl) ;;
    deb) commands=(cc pkg-config dpkg-deb objdump) ;;
    lab) commands=(cc mmdebstrap apt-get mke2fs xz) ;;
    *)
        say "usage: $0 build|demo|test|deb|lab"
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

# Without root, mmdebstrap works in a user namespace.
[ "$1" != lab ] || [ "$(id -u)" -eq 0 ] || commands+=(newuidmap)
# Where Debian keeps mke2fs, which a user's PATH need not have.
PATH=$PATH:/usr/sbin:/sbin
missing=()
for command in "${commands[@]}"; do
    command -v "$command" >/dev/null || missing+=("$command")
done
# A compiler without the headers of libc builds nothing; SQLite is compiled from its source.
if command -v cc >/dev/null && ! echo '#include <stdio.h>' | cc -E -x c - >/dev/null 2>&1; then
    missing+=(headers)
fi
# The daemon links libvirt's client library.
pkg-config --exists libvirt 2>/dev/null || missing+=(libvirt)
# Time zones: jiff reads the system's.
[ -e /usr/share/zoneinfo/Europe/Berlin ] || missing+=(zoneinfo)
# The keys of Debian's archive, whatever this machine runs itself.
[ "$1" != lab ] || [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(keyring)
# Some tests start a libvirtd of their own. Where there cannot be one, they say that they were skipped.
wanted=()
if [ "$1" = test ]; then
    { command -v libvirtd && command -v virsh; } >/dev/null || wanted+=(libvirtd)
    command -v qemu-system-x86_64 >/dev/null || wanted+=(qemu)
fi
[ $((${#missing[@]} + ${#wanted[@]})) -gt 0 ] || exit 0

# A Fedora may have apt-get as well: mmdebstrap needs it. dpkg's list of packages is empty there.
if command -v apt-get >/dev/null && [ -s /var/lib/dpkg/status ]; then
    declare -A package=([cc]=gcc [headers]=libc6-dev [dbus-daemon]=dbus [busctl]=systemd [zoneinfo]=tzdata
        [pkg-config]=pkg-config [libvirt]=libvirt-dev [libvirtd]='libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients'
        [qemu]=qemu-system-x86 [dpkg-deb]=dpkg [objdump]=binutils [mmdebstrap]=mmdebstrap
        [apt-get]=apt [mke2fs]=e2fsprogs [xz]=xz-utils [keyring]=debian-archive-keyring [newuidmap]=uidmap)
    # Nothing that is here goes away for it.
    install=(apt-get install -y --no-install-recommends --no-remove)
elif command -v dnf >/dev/null; then
    declare -A package=([cc]=gcc [headers]=glibc-devel [dbus-daemon]=dbus-daemon [busctl]=systemd [zoneinfo]=tzdata
        [pkg-config]=pkgconf-pkg-config [libvirt]=libvirt-devel [libvirtd]='libvirt-daemon libvirt-daemon-driver-qemu libvirt-client'
        [qemu]=qemu-system-x86-core [dpkg-deb]=dpkg [objdump]=binutils [mmdebstrap]=mmdebstrap
        [apt-get]=apt [mke2fs]=e2fsprogs [xz]=xz [keyring]=debian-keyring [newuidmap]=shadow-utils)
    install=(dnf install -y)
else
    say "missing: ${missing[*]}; there is neither apt-get nor dnf here: install them and start again"
    exit 1
fi
packages_of() {
    local name
    for name in "$@"; do
        # Some names stand for several packages.
        # shellcheck disable=SC2086
        printf '%s\n' ${package[$name]}
        [ "$name" != cc ] || printf '%s\n' "${package[headers]}"
    done
}
mapfile -t packages < <(packages_of "${missing[@]}")
mapfile -t wishes < <(packages_of "${wanted[@]}")

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        if [ ${#missing[@]} -eq 0 ]; then
            say "tests with a real libvirt will be skipped; for them, as root, run: ${install[*]} ${wishes[*]}"
            exit 0
        fi
        say "missing: ${missing[*]}; we are not root and there is no sudo. As root, run: ${install[*]} ${packages[*]} ${wishes[*]}"
        exit 1
    fi
    as_root=(sudo)
fi
say "installing ${packages[*]} ${wishes[*]}"
if [ "${install[0]}" = apt-get ]; then
    # A fresh machine knows no packages yet.
    install=(env DEBIAN_FRONTEND=noninteractive "${install[@]}")
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
fi
[ ${#packages[@]} -eq 0 ] || "${as_root[@]}" "${install[@]}" "${packages[@]}"
[ ${#wishes[@]} -gt 0 ] || exit 0
# QEMU's parts must be of one version. Where some came from Debian's backports, the rest is taken from there as well, for this once.
if [[ " ${wanted[*]} " = *" qemu "* ]] && [[ "$(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null)" = *~bpo* ]]; then
    suite=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)-backports
    once=$(mktemp -d)
    trap '"${as_root[@]}" rm -rf "$once"' EXIT
    mkdir -p "$once/lists/partial" "$once/parts"
    cp /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources "$once/parts" 2>/dev/null || true
    cat /etc/apt/sources.list >"$once/parts/main.list" 2>/dev/null || true
    echo "deb http://deb.debian.org/debian $suite main" >"$once/parts/backports.list"
    printf 'Dir::Etc::SourceParts "%s";\nDir::Etc::SourceList "/dev/null";\nDir::State::Lists "%s";\n' \
        "$once/parts" "$once/lists" >"$once/apt.conf"
    chmod -R a+rX "$once"
    "${as_root[@]}" env APT_CONFIG="$once/apt.conf" apt-get update -qq
    install=(env APT_CONFIG="$once/apt.conf" "${install[@]}")
    for part in qemu-system-x86 qemu-system-common qemu-system-data seabios; do wishes+=("$part/$suite"); done
    mapfile -t wishes < <(printf '%s\n' "${wishes[@]}" | grep -vx qemu-system-x86)
fi
if ! "${as_root[@]}" "${install[@]}" "${wishes[@]}"; then
    say "${wishes[*]} cannot be installed here: tests with a real libvirt will be skipped"
fi
