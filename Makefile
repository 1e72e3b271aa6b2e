# Two commands on a fresh machine: `make demo` and `make test`. Everything is installed into this folder.

PYTHON ?= python3
# The demo's environment is a user's: no torch, nothing for development. The tests' has both.
VENV := .venv
TEST_VENV := .venv-test
TORCH := torch==2.13.0

.PHONY: demo test check clean

demo: $(VENV)/ready
	$(VENV)/bin/impasto demo --output demo/triptych.png --force

test: $(TEST_VENV)/ready check
	$(TEST_VENV)/bin/python -m pytest -q

check: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/mypy

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("impasto needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[cpu,export]'
	touch $@

$(TEST_VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("impasto needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/python -m pip install --quiet --editable '.[dev]' $(TORCH)
	touch $@

clean:
	rm -rf $(VENV) $(TEST_VENV) demo build dist
