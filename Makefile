# The front door. Each target sets up what it needs first.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.setup-done
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: setup demo demo-failover test test-v2 lint unit node e2e bench clean

setup: $(STAMP)
	@# Also where Python is told to write no bytecode: every process would compile us anew, for a second.
	@$(VENV)/bin/python -m compileall -q src
	@$(SUDO) $(VENV)/bin/podwright setup --development
	@$(VENV)/bin/python scripts/test_clients.py
	@$(SUDO) $(VENV)/bin/python -m tests.guest.machine --fetch
	@$(SUDO) $(VENV)/bin/python -m tests.node.runtime.containerd

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
	$(SUDO) $(VENV)/bin/python -m pytest tests/unit -q -n 2 --dist worksteal

# Files of tests side by side, the long ones first (tests/conftest.py).
BY_FILE := -n 2 --dist loadfile --no-loadscope-reorder

node: setup
	$(SUDO) $(VENV)/bin/python -m pytest tests/node -q $(BY_FILE)

e2e: setup
	$(SUDO) $(VENV)/bin/python -m pytest tests/e2e -q $(BY_FILE)

test: setup
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line lint unit
	$(SUDO) $(VENV)/bin/python -m pytest tests/node tests/e2e -q $(BY_FILE)

# Under an emulated processor, so only what touches control groups, and no test that kills our process at a certain
# millisecond. V2= names other tests.
V2 ?= tests/guest tests/node/runtime/test_lifecycle.py tests/node/runtime/test_streams.py tests/node/runtime/test_restart.py \
	tests/node/runtime/test_confinement.py tests/node/kubelet/test_pods.py tests/node/kubelet/test_anatomy.py \
	-k "not killed_in_the_middle_of_a_start"
test-v2: setup
	$(SUDO) $(VENV)/bin/python -m tests.guest.machine --timeout 1500 \
		$(VENV)/bin/python -m pytest $(V2) -q -p no:cacheprovider --color no --timeout 300

bench: setup
	$(SUDO) $(VENV)/bin/python bench/run.py

clean:
	rm -rf $(VENV) build
