# What people and machines call; the work itself is cargo's and the scripts'.
# `make demo` and `make test` start from a fresh machine with git, make and Rust.

CARGO ?= cargo
DESTDIR ?=
PREFIX ?= /usr
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
SYSCONFDIR ?= /etc
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
INSTALL ?= install
# Where `make build` leaves the programs.
TARGET = $(or $(CARGO_TARGET_DIR),target)
BUILT = $(TARGET)/release
# libvirt waits for the hook at every start of a domain: a quarter of its time would be the dynamic linker's, so it is linked
# statically where the compiler has a libc.a.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
STATIC = $(if $(wildcard $(shell cc -print-file-name=libc.a)),-C target-feature=+crt-static)
# Pages and scripts that the command writes about itself, on their way to `make install`.
GENERATED = $(BUILT)/install

SCRIPTS = .ci/run tests/*.sh packaging/deb/build packaging/deb/p* tests/lab/lab tests/lab/image* tests/lab/*/init \
	tests/lab/inside/* tests/lab/scenarios/*.sh

.PHONY: all build hook demo test bench lint install deb lint-deb lab lab-shell help

all: build

help:
	@echo 'make demo     watch headstart on simulated GPUs for a minute (TRACE=file, DEMO_WEEKS=3, DEMO_SPEED=N)'
	@echo 'make test     all tests that need no laboratory'
	@echo 'make bench    the speed table'
	@echo 'make lint     formatting, clippy, documentation, scripts, licenses'
	@echo 'make build    release binaries; then: make install [DESTDIR=] [PREFIX=/usr]'
	@echo 'make deb      target/deb/headstart_VERSION_ARCH.deb'
	@echo 'make lint-deb what lintian says of that package'
	@echo 'make lab      all scenarios in a virtual hypervisor, minutes (SCENARIO=05 for one); make lab-shell: look around in it'

build: hook
	$(CARGO) build --locked --release -p headstartd -p headstart

# Alone, so that the others' features of its dependencies stay out; with --target, so that the flags are not those of build scripts.
hook:
	tests/install-deps.sh build
	RUSTFLAGS='$(RUSTFLAGS) $(STATIC)' $(CARGO) build --locked --profile hook --target $(HOST) -p headstart-qemu-hook
	$(INSTALL) -D -m 0755 $(BUILT)/../$(HOST)/hook/headstart-qemu-hook $(BUILT)/headstart-qemu-hook

demo:
	tests/install-deps.sh demo
	tests/demo.sh

# The black-box tests start the programs; building them first keeps that time out of the tests' deadlines.
test:
	tests/install-deps.sh test
	$(CARGO) build --locked -p headstartd -p headstart -p headstart-qemu-hook
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked --workspace; \
	else \
		set -x; $(CARGO) test --locked --workspace; \
	fi

bench: hook
	tests/install-deps.sh test
	$(CARGO) build --locked --release -p headstartd -p headstart
	$(CARGO) run --locked --release -p headstart-tests --bin bench

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --workspace
	@if command -v shellcheck >/dev/null; then set -x; shellcheck -x $(SCRIPTS); \
	else echo 'shellcheck is not installed: scripts are not checked'; fi
	@if $(CARGO) deny --version >/dev/null 2>&1; then set -x; $(CARGO) deny --locked check; \
	else echo 'cargo-deny is not installed: licenses, bans and advisories are not checked'; fi

# Builds nothing, so that `sudo make install` needs no cargo. packaging/README.md lists what goes where.
install:
	@test -x $(BUILT)/headstartd -a -x $(BUILT)/headstart -a -x $(BUILT)/headstart-qemu-hook || { echo 'make install: run "make build" first' >&2; exit 1; }
	rm -rf $(GENERATED)
	$(INSTALL) -d $(GENERATED)/man
	$(BUILT)/headstart man $(GENERATED)/man
	$(BUILT)/headstart completions bash > $(GENERATED)/headstart.bash
	$(BUILT)/headstart completions zsh > $(GENERATED)/_headstart
	$(BUILT)/headstart completions fish > $(GENERATED)/headstart.fish
	sed 's|/usr/sbin/|$(SBINDIR)/|' systemd/headstartd.service > $(GENERATED)/headstartd.service
	$(INSTALL) -D -m 0755 $(BUILT)/headstartd $(DESTDIR)$(SBINDIR)/headstartd
	$(INSTALL) -D -m 0755 $(BUILT)/headstart $(DESTDIR)$(BINDIR)/headstart
	$(INSTALL) -D -m 0755 $(BUILT)/headstart-qemu-hook $(DESTDIR)$(SBINDIR)/headstart-qemu-hook
	$(INSTALL) -d $(DESTDIR)$(SYSCONFDIR)/libvirt/hooks/qemu.d
	ln -sf $(SBINDIR)/headstart-qemu-hook $(DESTDIR)$(SYSCONFDIR)/libvirt/hooks/qemu.d/50-headstart
	$(INSTALL) -D -m 0644 udev/60-headstart.rules $(DESTDIR)$(LIBDIR)/udev/rules.d/60-headstart.rules
	$(INSTALL) -D -m 0644 $(GENERATED)/headstartd.service $(DESTDIR)$(LIBDIR)/systemd/system/headstartd.service
	$(INSTALL) -D -m 0644 config/headstart.toml $(DESTDIR)$(LIBDIR)/headstart/headstart.toml
	$(INSTALL) -D -m 0644 config/org.headstart1.conf $(DESTDIR)$(DATADIR)/dbus-1/system.d/org.headstart1.conf
	$(INSTALL) -D -m 0644 config/org.headstart1.xml $(DESTDIR)$(DATADIR)/dbus-1/interfaces/org.headstart1.xml
	$(INSTALL) -D -m 0644 config/demo-host.toml $(DESTDIR)$(DATADIR)/doc/headstart/demo-host.toml
	$(INSTALL) -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8
	$(INSTALL) -m 0644 $(GENERATED)/man/*.1 $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 0644 packaging/man/headstart.toml.5 $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 0644 packaging/man/headstartd.8 packaging/man/headstart-qemu-hook.8 $(DESTDIR)$(MANDIR)/man8/
	$(INSTALL) -D -m 0644 $(GENERATED)/headstart.bash $(DESTDIR)$(DATADIR)/bash-completion/completions/headstart
	$(INSTALL) -D -m 0644 $(GENERATED)/_headstart $(DESTDIR)$(DATADIR)/zsh/site-functions/_headstart
	$(INSTALL) -D -m 0644 $(GENERATED)/headstart.fish $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/headstart.fish

deb: build
	tests/install-deps.sh deb
	packaging/deb/build

# What may be as it is, and why, is in packaging/deb/lintian-overrides.
lint-deb: deb
	@if command -v lintian >/dev/null; then set -x; lintian --allow-root --fail-on error,warning $(TARGET)/deb/headstart_*.deb; \
	else echo 'lintian is not installed: the package is not checked'; fi

# The image is kept in target/lab for as long as what it is made of stays the same. It waits for a mirror, the package for a processor.
lab:
	tests/install-deps.sh lab
	tests/lab/lab --image & image=$$!; $(MAKE) deb; made=$$?; wait $$image && exit $$made
	tests/lab/lab $(SCENARIO)

lab-shell:
	tests/install-deps.sh lab
	tests/lab/lab --shell
