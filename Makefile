# The repository's commands; what each does is in README.md and CONTRIBUTING.md.
SHELL := /bin/bash
CARGO ?= cargo

.PHONY: demo test lint build

demo: ## build, replay three weeks on simulated GPUs, show it
	tests/install-deps.sh
	$(CARGO) build --locked --release -p headstartd -p headstart
	tests/demo.sh

test: ## everything that needs no lab
	tests/install-deps.sh
	if $(CARGO) nextest --version >/dev/null 2>&1; then $(CARGO) nextest run --locked --workspace; else $(CARGO) test --locked --workspace; fi

lint: ## format, clippy, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

build:
	$(CARGO) build --locked --release -p headstartd -p headstart
