# Everything runs in .venv, made on first use from the exact versions and hashes of requirements.txt.

PYTHON ?= python3.11
BIN := .venv/bin
# Python compiles a module on its first import. pip would compile all of them, for a minute.
INSTALL := install -qq --disable-pip-version-check --no-compile
# A process for each core. The tests of one file stay together, since they share what is made once; slow ones go where there is time.
EACH_CORE := -n auto --dist loadfile --no-loadscope-reorder
SLOW_ONES := -n auto --dist worksteal

.PHONY: setup demo test test-slow test-tfio lint bench bench-peers lock clean

setup: .venv/.installed

.venv/.installed: requirements.txt setup.py
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not on the PATH; install Python 3.11, 3.12 or 3.13, or give PYTHON=/path/to/it"; exit 2; }
	@echo "· making .venv and installing requirements.txt (3 GB; some minutes the first time)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip $(INSTALL) --require-hashes -r requirements.txt
	@$(BIN)/pip $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "✓ installed"

demo: setup
	@$(BIN)/funnel run funnel/examples/demo.toml

test: setup
	@$(BIN)/python -m pytest $(EACH_CORE)

test-slow: setup
	@$(BIN)/python -m pytest -m slow $(SLOW_ONES)

test-tfio: setup .venv-tfio/.installed
	@PYTHONPATH=tests $(BIN)/python tests/tfio_data.py .venv-tfio/data
	@FUNNEL_TFIO_DATA=.venv-tfio/data .venv-tfio/bin/python -m pytest tests/test_tfio.py

.venv-tfio/.installed: requirements-tfio.txt setup.py
	@echo "· making .venv-tfio and installing requirements-tfio.txt (2 GB; some minutes the first time)"
	@$(PYTHON) -m venv --clear .venv-tfio
	@.venv-tfio/bin/pip $(INSTALL) -r requirements-tfio.txt
	@.venv-tfio/bin/pip $(INSTALL) --no-deps --editable .
	@touch $@

lint: setup
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --no-cache --check .
	@$(BIN)/mypy --cache-dir=/dev/null

bench: setup
	@$(BIN)/python benchmarks/simulate.py
	@$(BIN)/python benchmarks/pipeline.py
	@$(BIN)/python benchmarks/bad_lines.py
	@$(BIN)/python benchmarks/train.py
	@$(BIN)/python benchmarks/architectures.py
	@$(BIN)/python benchmarks/serve.py

bench-peers: setup .venv-peers-deepctr/.installed .venv-peers-rechub/.installed .venv-peers-tft/.installed
	@$(BIN)/python benchmarks/train.py --only times_deepctr_10k times_rechub_10k best_times_deepctr_10k times_deepctr_400k times_rechub_400k
	@$(BIN)/python benchmarks/pipeline.py --only tft

.venv-peers-%/.installed: benchmarks/requirements-%.txt
	@echo "· making .venv-peers-$* for the comparison"
	@$(PYTHON) -m venv --clear .venv-peers-$*
	@.venv-peers-$*/bin/pip $(INSTALL) -r $<
	@touch $@

lock:
	@echo "· resolving setup.py's ranges for Python 3.11 and later"
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/pip $(INSTALL) uv
	@echo "# Exact versions and hashes of everything, made by: make lock" > .venv-lock/requirements.txt
	@.venv-lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-header --no-annotate --no-emit-index-url setup.py >> .venv-lock/requirements.txt
	@mv .venv-lock/requirements.txt requirements.txt
	@rm -rf .venv-lock build funnel.egg-info
	@echo "✓ requirements.txt: $$(grep -c '^[^ #]' requirements.txt) packages"

clean:
	rm -rf .venv .venv-tfio .venv-lock .venv-peers-* build funnel.egg-info .pytest_cache .ruff_cache .hypothesis
