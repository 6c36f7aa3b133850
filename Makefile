# Everything a checkout needs: `make up` runs the platform, `make test` proves it.

VENV := .venv
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	$$each -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$each && break; done)
PLATFORM := $(VENV)/.installed-platform
TOOLS := $(VENV)/.installed-test
INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help up install test test-servers lint audit clean-state

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

# Three workers, each with engines of its own: tests wait for engines and processes about a third of the time, which a third
# worker uses on two cores. A file's tests stay together.
test: lint
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
	@$(INSTALL) -e '.[api,pipeline,local]'
	@touch $@

$(TOOLS): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the platform and its tests into $(VENV): a few minutes, once"
	@$(INSTALL) -e '.[api,telemetry,pipeline,local,test]'
	@touch $(PLATFORM) $@
