VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Many containers set it; then each process would compile PyTorch again, which takes longer than to load it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: env demo test test-all gpu lint docs dist clean

env: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable '.[dev]'
	touch $(STAMP)

# An extra of pyproject.toml on top: $(VENV)/.installed-docs, -dist or -ci.
$(STAMP)-%: $(STAMP)
	$(BIN)/pip install --quiet --no-compile --editable '.[$*]'
	touch $@

demo: $(STAMP)
	$(BIN)/lsn demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

test-all: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist worksteal -m 'not gpu'

gpu: $(STAMP)
	$(BIN)/python benchmarks/on_gpu.py

docs: $(STAMP)-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build
	@echo 'Open docs/_build/index.html'

dist: $(STAMP)-dist
	.ci/dist

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache docs/_build dist
