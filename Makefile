# The front door. Each target sets up what it needs first.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.setup-done
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: setup demo demo-failover test lint unit node e2e bench clean

setup: $(STAMP)
	@$(SUDO) $(VENV)/bin/podwright setup --development

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV) 2>/dev/null || \
		{ rm -rf $(VENV); $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	$(VENV)/bin/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $(STAMP)

demo: setup
	@$(SUDO) env KEEP=$(KEEP) $(VENV)/bin/python examples/demo.py

demo-failover: setup
	@$(SUDO) env KEEP=$(KEEP) $(VENV)/bin/python examples/demo_failover.py

lint: setup
	$(VENV)/bin/ruff check src tests examples bench
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

unit: setup
	$(VENV)/bin/pytest tests/unit -q -n 2 --dist worksteal

node: setup
	$(SUDO) $(VENV)/bin/pytest tests/node -q

e2e: setup
	$(SUDO) $(VENV)/bin/pytest tests/e2e -q

test: setup lint
	$(SUDO) $(VENV)/bin/python -m pytest tests/unit -q -n 2 --dist worksteal
	$(SUDO) $(VENV)/bin/python -m pytest tests/node tests/e2e -q

bench: setup
	$(SUDO) $(VENV)/bin/python bench/run.py

clean:
	rm -rf $(VENV) build
