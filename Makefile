# What there is to do here. `make` alone lists it.

SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(HOME)/.cache/strongroom
export DIR KEEP ALL JSON LIMIT ONLY OUT BASE
SECONDS ?= 30
patiently := .ci/patiently
# Everywhere the same features, so that what all builds share is compiled once.
features := --features transit,oidc,tokio,testing

.PHONY: help demo test fuzz bench growth lint docs api semver deps
.DEFAULT_GOAL := help

help:
	@echo "make demo    two tenants keep real documents, everybody else is refused, a lost disk comes back"
	@echo "             DIR=folder of documents  KEEP=folder to leave the store in  ALL=1 all files  JSON=1"
	@echo "make test    all tests, those of the documentation too"
	@echo "make fuzz    each fuzz target for SECONDS=$(SECONDS)"
	@echo "make bench   the benchmarks"
	@echo "make growth  what very many tenants cost: a table and plots, for the manual unless OUT=folder"
	@echo "             LIMIT=tenants at most  ONLY=scales or boxes"
	@echo "make lint    formatting and clippy"
	@echo "make docs    the documentation, as docs.rs shows it"
	@echo "make api     writes the snapshot of the public API anew, after a change that was meant"
	@echo "make semver  what has changed in the public API since BASE=commit, and what version that asks for"
	@echo
	@echo "All of them build into $(CARGO_TARGET_DIR), with one profile, so that RocksDB is compiled once."

demo: deps
	@$(patiently) cargo run --quiet $(features) --example quickstart

test: deps
	@# Without it the tests of vaults say that they are skipped, and under CI they fail.
	@.ci/openbao >/dev/null || true
	@$(patiently) cargo test $(features) --all-targets
	@cargo test $(features) --doc

fuzz: deps
	@fuzz/run $(SECONDS)

bench: deps
	@$(patiently) cargo bench --profile dev $(features),bench-internals

growth: deps
	@$(patiently) cargo run --quiet $(features) --example growth

lint: deps
	@cargo fmt --check
	@$(patiently) cargo clippy --all-targets $(features) -- -D warnings

docs: deps
	@RUSTDOCFLAGS="-D warnings" $(patiently) cargo doc --no-deps $(features)
	@echo "$(CARGO_TARGET_DIR)/doc/strongroom/index.html"

api: deps
	@BLESS=1 $(patiently) .ci/api/run $(features)

semver: deps
	@$(patiently) .ci/api/semver $(features)

deps:
	@.ci/deps
