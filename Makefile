# What there is to do here. `make` alone lists it.

SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(HOME)/.cache/strongroom
export DIR KEEP ALL LIMIT ONLY OUT BASE JSON PORT SCREENSHOTS
SECONDS ?= 30
patiently := .ci/patiently
# Everywhere the same features, so that what all builds share is compiled once.
features := --features transit,oidc,tokio,testing

.PHONY: help demo service load browser test fuzz bench growth lint docs api semver deps
.DEFAULT_GOAL := help

help:
	@echo "make demo    two tenants keep real documents, everybody else is refused, a lost disk comes back"
	@echo "             DIR=folder of documents  KEEP=folder to leave the store in  ALL=1 all files  JSON=1"
	@echo "make service a mail service on strongroom, with an identity provider beside it, until Ctrl-C; PORT=8080"
	@echo "make load    throughput and latency of that service for each tenant, also while one floods:"
	@echo "             three measurements of SECONDS (15)  JSON=1"
	@echo "make browser the page of that service in a real browser; SCREENSHOTS=folder to leave pictures in"
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

# The programs of the service's package: what it serves with, and what stands around it on a developer's machine.
playground = STRONGROOM_BAO="$$(.ci/openbao)" "$(CARGO_TARGET_DIR)/debug/playground"

service: programs
	@$(playground) service

load: programs
	@$(playground) load $(if $(filter command line environment,$(origin SECONDS)),--seconds $(SECONDS)) $(if $(JSON),--json)

browser: programs
	@examples/mail_service/tests/browser/run

.PHONY: programs
programs: deps
	@$(patiently) cargo build --quiet -p mail_service

test: deps
	@# Without it the tests of vaults say that they are skipped, and under CI they fail.
	@.ci/openbao >/dev/null || true
	@$(patiently) cargo test $(features) --all-targets
	@cargo test $(features) --doc
	@cargo test -p mail_service

fuzz: deps
	@fuzz/run $(SECONDS)

bench: deps
	@$(patiently) cargo bench --profile dev $(features),bench-internals

growth: deps
	@$(patiently) cargo run --quiet $(features) --example growth

lint: deps
	@cargo fmt --all --check
	@$(patiently) cargo clippy --all-targets $(features) -- -D warnings
	@cargo clippy --all-targets -p mail_service -- -D warnings

docs: deps
	@RUSTDOCFLAGS="-D warnings" $(patiently) cargo doc --no-deps $(features)
	@echo "$(CARGO_TARGET_DIR)/doc/strongroom/index.html"

api: deps
	@BLESS=1 $(patiently) .ci/api/run $(features)

semver: deps
	@$(patiently) .ci/api/semver $(features)

deps:
	@.ci/deps
