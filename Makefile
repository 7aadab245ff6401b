# What people and machines call; the work itself is cargo's and the scripts'.
# `make demo` and `make test` start from a fresh machine with git, make and Rust.

CARGO ?= cargo
DESTDIR ?=
PREFIX ?= /usr
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
INSTALL ?= install
# Where `make build` leaves the programs.
BUILT = $(or $(CARGO_TARGET_DIR),target)/release
# Pages and scripts that the command writes about itself, on their way to `make install`.
GENERATED = $(BUILT)/install

.PHONY: all build demo test bench lint install help

all: build

help:
	@echo 'make demo     watch headstart on simulated GPUs for a minute (TRACE=file, DEMO_WEEKS=3, DEMO_SPEED=N)'
	@echo 'make test     all tests that need no laboratory'
	@echo 'make bench    the speed table'
	@echo 'make lint     formatting, clippy, documentation, scripts, licenses'
	@echo 'make build    release binaries; then: make install [DESTDIR=] [PREFIX=/usr]'

build:
	tests/install-deps.sh build
	$(CARGO) build --locked --release -p headstartd -p headstart

demo:
	tests/install-deps.sh demo
	tests/demo.sh

# The black-box tests start the programs; building them first keeps that time out of the tests' deadlines.
test:
	tests/install-deps.sh test
	$(CARGO) build --locked -p headstartd -p headstart
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked --workspace; \
	else \
		set -x; $(CARGO) test --locked --workspace; \
	fi

bench:
	tests/install-deps.sh test
	$(CARGO) build --locked --release -p headstartd -p headstart
	$(CARGO) run --locked --release -p headstart-tests --bin bench

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --workspace
	@if command -v shellcheck >/dev/null; then set -x; shellcheck .ci/run tests/*.sh; \
	else echo 'shellcheck is not installed: scripts are not checked'; fi
	@if $(CARGO) deny --version >/dev/null 2>&1; then set -x; $(CARGO) deny --locked check; \
	else echo 'cargo-deny is not installed: licenses, bans and advisories are not checked'; fi

# Builds nothing, so that `sudo make install` needs no cargo. packaging/README.md lists what goes where.
install:
	@test -x $(BUILT)/headstartd -a -x $(BUILT)/headstart || { echo 'make install: run "make build" first' >&2; exit 1; }
	rm -rf $(GENERATED)
	$(INSTALL) -d $(GENERATED)/man
	$(BUILT)/headstart man $(GENERATED)/man
	$(BUILT)/headstart completions bash > $(GENERATED)/headstart.bash
	$(BUILT)/headstart completions zsh > $(GENERATED)/_headstart
	$(BUILT)/headstart completions fish > $(GENERATED)/headstart.fish
	sed 's|/usr/sbin/|$(SBINDIR)/|' systemd/headstartd.service > $(GENERATED)/headstartd.service
	$(INSTALL) -D -m 0755 $(BUILT)/headstartd $(DESTDIR)$(SBINDIR)/headstartd
	$(INSTALL) -D -m 0755 $(BUILT)/headstart $(DESTDIR)$(BINDIR)/headstart
	$(INSTALL) -D -m 0644 $(GENERATED)/headstartd.service $(DESTDIR)$(LIBDIR)/systemd/system/headstartd.service
	$(INSTALL) -D -m 0644 config/headstart.toml $(DESTDIR)$(LIBDIR)/headstart/headstart.toml
	$(INSTALL) -D -m 0644 config/org.headstart1.conf $(DESTDIR)$(DATADIR)/dbus-1/system.d/org.headstart1.conf
	$(INSTALL) -D -m 0644 config/org.headstart1.xml $(DESTDIR)$(DATADIR)/dbus-1/interfaces/org.headstart1.xml
	$(INSTALL) -D -m 0644 config/demo-host.toml $(DESTDIR)$(DATADIR)/doc/headstart/demo-host.toml
	$(INSTALL) -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8
	$(INSTALL) -m 0644 $(GENERATED)/man/*.1 $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 0644 packaging/man/headstart.toml.5 $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 0644 packaging/man/headstartd.8 $(DESTDIR)$(MANDIR)/man8/
	$(INSTALL) -D -m 0644 $(GENERATED)/headstart.bash $(DESTDIR)$(DATADIR)/bash-completion/completions/headstart
	$(INSTALL) -D -m 0644 $(GENERATED)/_headstart $(DESTDIR)$(DATADIR)/zsh/site-functions/_headstart
	$(INSTALL) -D -m 0644 $(GENERATED)/headstart.fish $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/headstart.fish
