# Everything a checkout needs: `make up` runs the platform, `make test` proves it.

VENV := .venv
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	$$each -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$each && break; done)
PLATFORM := $(VENV)/.installed-platform
TOOLS := $(VENV)/.installed-test
EXTRAS := api,pipeline,local
TEST_EXTRAS := api,telemetry,pipeline,local,test
PIP = PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
UV = VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet -c constraints.txt
# uv is faster than pip by far, but knows none of its settings: where packages come only through those, pip installs them.
# torch always comes by pip, whose settings may lead to a build without CUDA, a tenth of the size.
install = $(PIP) --no-deps uv torch && { $(UV) -e '.[$(1)]' || { echo "uv could not install it; trying pip" >&2; $(PIP) -e '.[$(1)]'; }; }
# On all cores, without what nothing here imports. Some packages carry templates that end in .py and are not Python, hence the `true`.
COMPILE = $(VENV)/bin/python -m compileall -qq --workers 0 \
	-x '/(tests?|testing|faker|mypyc?|pip|setuptools)/|/transformers/models/|/torch/_inductor/' $(VENV)/lib || true

.PHONY: help up install test every-test test-servers lint audit clean-state

help:
	@echo "make up            run the platform: stores, Dagster, the API, the sample (API_PORT=8001 DAGSTER_PORT=3001 STATE=.state)"
	@echo "make test          lint, types, import contracts and every test, on engines that the tests start"
	@echo "make test-servers  the contract tests on the servers that the CAMPAIGNS_* variables name; THEIR DATA IS DELETED"
	@echo "make lint          lint, types and import contracts alone"
	@echo "make audit         known vulnerabilities of every version in constraints.txt; asks PyPI"
	@echo "make install       the virtual environment alone"
	@echo "make clean-state   forget everything that was loaded"

up: $(PLATFORM)
	@$(VENV)/bin/campaigns up $(if $(API_PORT),--api-port $(API_PORT)) $(if $(DAGSTER_PORT),--dagster-port $(DAGSTER_PORT)) $(if $(STATE),--state $(STATE))

install: $(PLATFORM)

# Lint and the tests at the same time: mypy uses one core, and the tests do not need both all the time.
test: $(TOOLS)
	@$(MAKE) --no-print-directory --jobs 2 lint every-test

# Three workers, each with engines of its own: tests wait for engines and processes about a third of the time, which a third
# worker uses on two cores. A file's tests stay together. The cores are busy already: nothing needs threads of its own, which would
# spin waiting for each other, a Java that lives for a minute needs no second compiler, and a hundred processes share compiled modules.
every-test: $(TOOLS)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 \
		$(VENV)/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-servers: $(TOOLS)
	@test -n "$$CAMPAIGNS_MONGO_URL$$CAMPAIGNS_MILVUS_URL$$CAMPAIGNS_NEO4J_URL$$CAMPAIGNS_REDIS_URL" \
		|| { echo "no server is named: set CAMPAIGNS_MONGO_URL, CAMPAIGNS_MILVUS_URL, CAMPAIGNS_NEO4J_URL, CAMPAIGNS_REDIS_URL" >&2; exit 2; }
	TEST_SERVERS=wipe $(VENV)/bin/python -m pytest tests/contract

lint: $(TOOLS)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

audit: $(TOOLS)
	$(VENV)/bin/python -m pip_audit --disable-pip --no-deps --requirement constraints.txt

clean-state:
	@if [ -e .state/lock ] && command -v flock >/dev/null && ! flock --nonblock .state/lock true; then \
		echo "the platform is running on .state: stop it first" >&2; exit 1; fi
	rm -rf .state

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with its venv module is needed, and none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps make an installation happen once, and again when what is asked for has changed.
$(PLATFORM): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the platform into $(VENV): a few minutes, once"
	@$(call install,$(EXTRAS))
	@$(COMPILE)
	@touch $@

$(TOOLS): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the platform and its tests into $(VENV): a few minutes, once"
	@$(call install,$(TEST_EXTRAS))
	@$(COMPILE)
	@touch $(PLATFORM) $@
