# The two commands are `make demo` and `make test`; each does its own set-up. `make help` lists the rest.
#
# Everything that links RocksDB is built with --release. Its C++ takes minutes, so it is compiled once
# into an archive in the cache, and every later build links that archive: cargo alone would compile it
# again whenever the set of packages, and with it the set of features, changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-memory test test-peers fuzz lint build bench bench-peers packages peers rocksdb env \
	health promise python python-env

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/seedbank
CARGO_TARGET_DIR ?= $(CACHE)/target
ROCKSDB_VERSION := $(shell awk -F'"' '/^name = /{n=$$2} /^version = /&&n=="librocksdb-sys"{print $$2}' \
	Cargo.lock)
# Whatever changes the archive changes its folder's name.
ROCKSDB_LIB_DIR := $(CACHE)/librocksdb-$(ROCKSDB_VERSION)-O2
ROCKSDB_STATIC := 1
export CARGO_TARGET_DIR ROCKSDB_LIB_DIR ROCKSDB_STATIC

# Cargo never changes the lock file behind our back.
CARGO := cargo
LOCKED := --locked
PURE := -p seedbank-ledger -p seedbank-engine -p seedbank-sim --no-default-features
TIMES := $(CARGO_TARGET_DIR)/step-seconds
PYTHON_ENV := $(CACHE)/python
WHEELS := $(CACHE)/wheels
OF_PYTHON := --manifest-path sim/python/Cargo.toml
ARGS :=
FUZZ_SECONDS := 60

# $(call step,NAME,COMMAND): says what runs, runs it, and notes how long it took.
define step
@printf '\n== %s\n' '$(1)'; begin=$$(date +%s); $(2); \
	printf '%5d s  %s\n' $$(($$(date +%s) - begin)) '$(1)' >>$(TIMES)
endef

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: rocksdb ## the demo: a paying leecher beside unpaying ones, RocksDB ledgers
	@echo "building seedbankd (about two minutes the first time)"
	$(CARGO) build $(LOCKED) --release -p seedbank-node
	$(CARGO_TARGET_DIR)/release/seedbankd demo --check $(ARGS)

demo-memory: ## the same demo with ledgers in memory: no RocksDB, no C++
	@.ci/packages rust
	@echo "building seedbankd without RocksDB (under five minutes the first time)"
	$(CARGO) build $(LOCKED) --release -p seedbank-node --no-default-features --features demo
	$(CARGO_TARGET_DIR)/release/seedbankd demo --check $(ARGS)

# Cheapest first, stop at the first failure. One profile throughout: with dev for the pure crates,
# every dependency would be compiled a second time, which costs more than optimising ours does.
test: rocksdb peers python-env ## everything: format, lints, unit tests, real peers, Python; then where the time went
	@mkdir -p $(CARGO_TARGET_DIR); : >$(TIMES)
	$(call step,format,$(CARGO) fmt --all -- --check)
	$(call step,clippy of the pure crates,\
		$(CARGO) clippy $(LOCKED) --release $(PURE) --all-targets -- -D warnings)
	$(call step,tests of the pure crates,$(CARGO) test $(LOCKED) --release $(PURE))
	$(call step,clippy of the workspace,\
		$(CARGO) clippy $(LOCKED) --release --workspace --all-targets -- -D warnings)
	$(call step,documentation,RUSTDOCFLAGS="-D warnings" \
		$(CARGO) doc $(LOCKED) --release --workspace --no-deps --quiet)
	$(call step,build of the workspace,$(CARGO) build $(LOCKED) --release --workspace --all-targets)
	$(call step,tidiness,$(CARGO) test $(LOCKED) --release --workspace --test it tidy)
	$(call step,tests of the workspace,$(CARGO) test $(LOCKED) --release --workspace)
	$(python-steps)
	@printf '\n== where the time went\n'; cat $(TIMES)
	@awk '{s += $$1} END {printf "%5d s  in all\n", s}' $(TIMES)
	@$(MAKE) --no-print-directory health

test-peers: rocksdb peers ## the interop tests with real clients
	$(CARGO) build $(LOCKED) --release --workspace --all-targets
	$(CARGO) test $(LOCKED) --release -p seedbank-tests -- interop:: mixed_swarm::

fuzz: ## every parser under libFuzzer, FUZZ_SECONDS each; needs cargo-fuzz and a C++ compiler
	@.ci/fuzz $(FUZZ_SECONDS) $(CACHE)/fuzz $(ARGS)

lint: rocksdb ## format and clippy of the whole workspace
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy $(LOCKED) --release --workspace --all-targets -- -D warnings

build: rocksdb ## all programs and tests of the workspace, as `make test` builds them
	$(CARGO) build $(LOCKED) --release --workspace --all-targets

env: ## the variables that make plain cargo find the archive: eval "$(make -s env)"
	@printf 'export %s=%q\n' CARGO_TARGET_DIR '$(CARGO_TARGET_DIR)' \
		ROCKSDB_LIB_DIR '$(ROCKSDB_LIB_DIR)' ROCKSDB_STATIC '$(ROCKSDB_STATIC)'

# What only translates is left out: the API, settings, the remote settlement node; so is the demo.
# The rest of settlement/ (the keeper of the network ledger, the local way to it) counts.
health: ## lines of (ledger + engine) over lines of the node's skin; below 2, logic has leaked
	@core=$$(find ledger/src engine/src -name '*.rs' | xargs cat | wc -l); \
	skin=$$(find node/src -name '*.rs' | grep -Ev 'src/(rpc|demo|host/config|settlement/(remote|convert))(/|\.rs)' | xargs cat | wc -l); \
	awk -v c=$$core -v s=$$skin \
		'BEGIN {printf "ledger + engine %d lines, node %d lines: ratio %.1f\n", c, s, c / s}'

# ---- set-up ----

packages: # what a build with RocksDB needs
	@.ci/packages rust rocksdb

peers: packages # the real clients that the tests talk to
	@.ci/packages peers

rocksdb: packages # the archive, compiled at most once per version
	@.ci/librocksdb "$(ROCKSDB_LIB_DIR)" "$(CACHE)/librocksdb-build"

promise: peers build ## paid downloads behind shaped uplinks, every cell (forty minutes)
	$(CARGO) test $(LOCKED) --release --workspace --test it -- --ignored --nocapture promise::every_cell promise::changes

bench: bench-peers build ## idle connections and mute peers, beside a newer libtorrent (six minutes)
	SEEDBANK_BENCH_PYTHON=$(CACHE)/bench/bin/python $(CARGO) test $(LOCKED) --release --workspace --test it -- \
		--ignored --nocapture --test-threads=1 beside_libtorrent

bench-peers: packages ## a newer libtorrent from PyPI in the cache, for the benchmark only
	@.ci/packages bench
	@[ -x $(CACHE)/bench/bin/python ] || /usr/bin/python3 -m venv $(CACHE)/bench
	$(CACHE)/bench/bin/pip install --quiet --disable-pip-version-check libtorrent==2.1.1
	@$(CACHE)/bench/bin/python -c 'import libtorrent as l; print("libtorrent", l.__version__, l.__file__)'

define python-steps
$(call step,format of sim/python,$(CARGO) fmt $(OF_PYTHON) -- --check)
$(call step,clippy of sim/python,PYO3_PYTHON=$(PYTHON_ENV)/bin/python \
	$(CARGO) clippy $(OF_PYTHON) $(LOCKED) --release -- -D warnings)
@rm -rf $(WHEELS)
$(call step,build of the wheel,$(PYTHON_ENV)/bin/maturin build $(OF_PYTHON) $(LOCKED) --release \
	--interpreter $(PYTHON_ENV)/bin/python --out $(WHEELS))
@$(PYTHON_ENV)/bin/pip install --quiet --no-deps --force-reinstall $(WHEELS)/*.whl
$(call step,tests of the wheel,timeout 600 env SEEDBANK_SIM=$(CARGO_TARGET_DIR)/release/seedbank-sim \
	$(PYTHON_ENV)/bin/python -m unittest discover -s sim/python/tests -t sim/python)
$(call step,types of the wheel,cd $(CACHE); $(PYTHON_ENV)/bin/mypy --strict -p seedbank_sim; \
	$(PYTHON_ENV)/bin/python -m mypy.stubtest seedbank_sim)
$(call step,notebook,SEEDBANK_SIM=$(CARGO_TARGET_DIR)/release/seedbank-sim \
	$(PYTHON_ENV)/bin/python sim/python/notebooks/execute.py \
	sim/python/notebooks/first-economy.ipynb $(CACHE)/first-economy.ipynb)
endef

python: TIMES := $(CARGO_TARGET_DIR)/python-seconds
python: python-env ## the simulator as a module of Python: its wheel, its tests and its notebook
	@mkdir -p $(CARGO_TARGET_DIR); : >$(TIMES)
	$(call step,build of the command line,$(CARGO) build $(LOCKED) --release -p seedbank-sim)
	$(python-steps)
	@printf '\n== where the time went\n'; cat $(TIMES)
	@echo "the wheel is in $(WHEELS)"

python-env: # Python, and what builds, tests and shows the module, in a folder of the cache
	@.ci/packages rust python
	@[ -x $(PYTHON_ENV)/bin/python ] || /usr/bin/python3 -m venv $(PYTHON_ENV)
	@echo "installing from PyPI into $(PYTHON_ENV), if they are not there:"
	@grep -v '^#' sim/python/requirements.txt
	@$(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check -r sim/python/requirements.txt
