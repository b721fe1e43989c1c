# Athena. `make demo` and `make test` set everything up themselves; the second run starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test soak lab bench check monitor health-check status emergency-stop clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(STAMP)  ## a trading day on the embedded simulator, with an incident, a halt and the day's report
	@$(BIN)/athena demo $(ARGS)

test: $(STAMP)  ## every test this machine can run; says what it skipped and why
	@$(BIN)/python -m pytest $(ARGS)

soak: $(STAMP)  ## a thousand kills at every place of the order path, thousands of simulated days (half an hour)
	@$(BIN)/python -m tests.soak $(ARGS)

lab: $(STAMP)  ## JupyterLab at the control room; simulator and engine too where none runs
	@$(BIN)/athena lab $(ARGS)

bench: $(STAMP)  ## speed, each figure beside its yardstick in the same run
	@$(BIN)/python -m tests.benchmarks $(ARGS)

check: $(STAMP)  ## lint, format and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

monitor: $(STAMP)  ## Prometheus, Alertmanager and the webhook beside the running engine or demo
	@$(BIN)/athena monitor $(ARGS)

health-check: $(STAMP)  ## every component, its age and the next action
	@$(BIN)/athena health-check $(ARGS)

status: $(STAMP)  ## the live system on one screen
	@$(BIN)/athena status $(ARGS)

emergency-stop: $(STAMP)  ## halt all trading now; ARGS="--flatten" also closes every position
	@$(BIN)/athena emergency-stop $(ARGS)

clean:  ## remove the environment and everything generated
	rm -rf $(VENV) .athena-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

# An uncompiled pandas takes seconds to import, and some machines forbid Python to compile on import: compile once, here.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Athena needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up Athena in $(VENV) (once, one to three minutes)"
	@$(PYTHON) -m venv $(VENV) || { echo "Python has no venv here. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "  1/3 packages, each checked against its hash"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@echo "  2/3 athena itself"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile --no-build-isolation --no-deps -e .
	@echo "  3/3 bytecode"
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q -j 0 $(VENV)/lib athena >/dev/null || true
	@touch $(STAMP)
