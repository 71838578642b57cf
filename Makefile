# Needs Python 3.11 or newer, make and a package index. Everything lands in .venv and in the model store
# (~/.cache/genner, or $GENNER_HOME).

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# Tried in this order; `make PYTHON=/path/to/python` goes first.
PYTHONS := $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14 python
# Pinned by hand, not by `make lock`: it is nearly all of the download.
TORCH := 2.13.0

.PHONY: install demo test check lock clean

install: $(STAMP)

# Tags the texts in examples/ with the default model, shows them, scores the bundled gold sample.
demo: $(STAMP)
	$(BIN)/genner models fetch
	$(BIN)/genner demo

test: $(DEV_STAMP)
	$(BIN)/genner models fetch
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(DEV_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The build backend is in the lock too, hence --no-build-isolation: nothing unpinned is installed.
$(STAMP): requirements.lock pyproject.toml
	@echo "installing into $(VENV); the first time takes some minutes"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { $(find_python) && "$$python" -m venv --clear $(VENV); }
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# What tests and checks need besides; complete, so pip has nothing to resolve.
$(DEV_STAMP): requirements-dev.lock $(STAMP)
	@echo "installing what the tests need"
	@$(PIP) install --no-deps -r requirements-dev.lock
	@touch $@

# Resolves pyproject.toml afresh in a venv of its own. torch goes first, so that nothing draws in a newer one; xgrammar
# goes without its requirements, as only the tests use it, and not what it wants triton for.
lock:
	@$(find_python) && scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && "$$python" -m venv "$$scratch" \
	  && pip="$$scratch/bin/python -m pip --disable-pip-version-check" \
	  && freeze() { $$pip freeze --all --exclude-editable --exclude pip | sed 's/^\(torch==[^+]*\)+.*/\1/' \
	       | grep -vE '^(nvidia-|cuda-|triton==)' | LC_ALL=C sort; } \
	  && header() { sed '/^[^#]/,$$d' "$$1"; } \
	  && $$pip install -qq torch==$(TORCH) && $$pip install -qq hatchling editables \
	  && $$pip install -qq --no-build-isolation -e . && freeze > "$$scratch/base" \
	  && $$pip install -qq --no-build-isolation -e '.[dev]' && $$pip install -qq --no-deps xgrammar apache-tvm-ffi \
	  && freeze > "$$scratch/all" && LC_ALL=C comm -13 "$$scratch/base" "$$scratch/all" > "$$scratch/dev" \
	  && { header requirements.lock; cat "$$scratch/base"; } > "$$scratch/lock" \
	  && { header requirements-dev.lock; cat "$$scratch/dev"; } > "$$scratch/dev-lock" \
	  && cp "$$scratch/lock" requirements.lock && cp "$$scratch/dev-lock" requirements-dev.lock \
	  && grep -c == requirements.lock requirements-dev.lock

clean: # the model store stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Sets $python, or says what is missing.
define find_python
python= && for p in $(PYTHONS); do \
  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$p && break; fi; done \
&& if [ -z "$$python" ]; then \
  echo "genner needs Python 3.11 or newer; none of these is: $(PYTHONS)." \
    "Install one, or name it: make PYTHON=/path/to/python" >&2 && exit 1; fi
endef
