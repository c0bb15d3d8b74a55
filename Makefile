# Every target works on a fresh machine: `install` makes .venv, and the others call it.
VENV := .venv
# Where the environment is there, its own Python.
PYTHON ?= $(or $(wildcard $(VENV)/bin/python),python3)
BIN := $(VENV)/bin
# cpu or cuda: which of requirements/*.lock is installed.
BUILD := cpu
# any: where no CPU build of torch is found, its usual build of several GB will do.
TORCH := cpu

.PHONY: install lock upgrade newest quickstart test lint unit mutants bench docs clean

install: $(VENV)/.installed-$(BUILD)

$(VENV)/.installed-$(BUILD): pyproject.toml $(wildcard requirements/*.txt requirements/*.lock requirements/*.py)
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON): name a Python, as in \`make install PYTHON=python3.12\`" >&2; exit 1; }
	@$(PYTHON) requirements/install.py $(BUILD) --into $(VENV) --torch $(TORCH)
	@touch $@

# After a change of pyproject.toml: pin what it asks for. `upgrade` takes the newest within its bounds as well.
lock:
	$(PYTHON) requirements/locks.py --into $(VENV)

upgrade:
	$(PYTHON) requirements/locks.py --into $(VENV) --upgrade

# What drift breaks: the newest of everything but torch, beyond every bound and pin, beside .venv.
newest:
	rm -rf .venv-newest
	@$(PYTHON) requirements/install.py newest --into .venv-newest --torch $(TORCH)
	OMP_NUM_THREADS=1 PYTHONHASHSEED=0 .venv-newest/bin/pytest -m light -n 2 --dist loadfile

quickstart: install
	$(BIN)/gristmill run pipelines/recipes/quickstart.yaml --run runs/quickstart

test: lint unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python docs/check_catalogue.py
	mkdir -p .cache/typing && ln -sfn "$(CURDIR)" .cache/typing/gristmill
	MYPYPATH=.cache/typing $(BIN)/mypy -n 2 -p gristmill.contracts -p gristmill.pipelines -p gristmill.datagen -p gristmill.filters \
		-p gristmill.trainer -p gristmill.kernels

# Tests keep the bytecode of what they import even where the environment forbids it, as many containers do: else
# each of their hundreds of processes compiles transformers, vLLM and Ray again.
KEEP := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX="$(CURDIR)/.cache/bytecode"

# First two files at a time, in the order of their names: the longest are not the last. Then, alone, what compares times.
unit: install
	$(BIN)/coverage erase
	$(KEEP) OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind PYTHONHASHSEED=0 $(BIN)/pytest -m "not alone" \
		-n 2 --dist loadfile --no-loadscope-reorder --cov=gristmill --cov-report=
	$(KEEP) $(BIN)/pytest -m alone --cov=gristmill --cov-append --cov-report=term --cov-fail-under=80

# Cut one mechanism after the other out of a copy of the tree, and see that the test that holds it fails.
# ONLY="loop gate" takes the mutants whose id begins with one of these; tests/mutants.md lists them.
ONLY :=
mutants: install
	PYTHONHASHSEED=0 $(BIN)/python tests/mutants/run.py $(ONLY)

# The peers that are measured beside ours, at the versions that requirements.txt pins.
benchmarks/.peers/.installed: benchmarks/requirements.txt | install
	test -x benchmarks/.peers/bin/python || $(PYTHON) -m venv benchmarks/.peers
	benchmarks/.peers/bin/pip install --quiet $$(grep ^torch $<)
	$(BIN)/uv pip install --quiet --python benchmarks/.peers/bin/python -r $<
	touch $@

benchmarks/.peers/endpoint/.installed: benchmarks/endpoint_requirements.txt | install
	test -x benchmarks/.peers/endpoint/bin/python || $(PYTHON) -m venv benchmarks/.peers/endpoint
	$(BIN)/uv pip install --quiet --python benchmarks/.peers/endpoint/bin/python -r $<
	touch $@

# Without a GPU; with one: benchmarks/kernels_gpu.py and benchmarks/train_gpu.py.
bench: install benchmarks/.peers/.installed benchmarks/.peers/endpoint/.installed
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/train_cpu.py
	$(BIN)/python benchmarks/cpu_forms.py
	$(BIN)/python benchmarks/forgetting.py
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/endpoint.py
	$(BIN)/python benchmarks/forged.py

# The reference from the docstrings in the code, then the site of docs/ into site/; what builds it is apart from the rest.
docs: install .venv-docs/.installed
	$(BIN)/python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

.venv-docs/.installed: requirements/docs.lock $(wildcard requirements/*.py)
	@$(PYTHON) requirements/install.py docs --into .venv-docs
	@touch $@

clean:
	rm -rf site $(VENV) .venv-docs .venv-newest .cache build *.egg-info
