# `make` lists the targets. All run in .venv, which is made once from constraints.txt.

PYTHON ?= python3#           3.11 to 3.13
VENV ?= .venv
PIP_ARGS ?=#                 e.g. an index of CPU-only torch wheels, see CONTRIBUTING.md
JOBS ?= 2#                   processes that run tests
PYTEST_ARGS ?=
CLIP ?=#                     your own clip for `make demo`
DEMO_ARGS ?= --size 360p --duration 10
BENCH_ARGS ?= quick

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_INSTALL := -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt
PIP := $(BIN)/python $(PIP_INSTALL)
CSRC := $(shell find src/gscodec -type f -path '*/csrc/*')
CLANG_FORMAT := $(BIN)/clang-format $(filter %.cpp %.h %.cu %.cuh,$(CSRC))
DEMO_CLIP := $(or $(CLIP),demo-out/clip.mp4)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slic test-extras test-cuda fuzz lint format type docs bench vectors golden mutate clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/make \1\t\2/p' Makefile | expand -t 18

install: $(STAMP)  ## make .venv with the exact versions of constraints.txt, and build the native core

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "gscodec needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt CMakeLists.txt $(CSRC) | $(BIN)/python
	$(PIP) scikit-build-core nanobind cmake ninja
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## encode and decode a clip (CLIP=path takes yours), print figures, draw demo-out/side_by_side.png
	@mkdir -p demo-out
	$(if $(CLIP),,$(BIN)/python tools/make_demo_clip.py $(DEMO_CLIP))
	$(BIN)/gscodec encode -y "$(DEMO_CLIP)" demo-out/demo.gsv $(DEMO_ARGS)
	$(BIN)/gscodec decode -y demo-out/demo.gsv demo-out/demo.mp4
	$(BIN)/gscodec info demo-out/demo.gsv
	$(BIN)/python tools/side_by_side.py "$(DEMO_CLIP)" demo-out/demo.gsv demo-out/side_by_side.png

test: $(STAMP)  ## run every test (PYTEST_ARGS="-k name" for some)
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

# Optional packages get environments of their own on top of .venv: what is there is seen (same versions, same core),
# what is added stays outside, so that `make test` still shows that nothing else needs it.
$(VENV)-%/.on-top: | $(STAMP)
	$(BIN)/python -m venv $(VENV)-$*
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > "$$($(VENV)-$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/on-top.pth"
	@touch $@

# Two steps: fast-slic, of 2019, does not say what its build needs (CONTRIBUTING.md). The import comes before the
# stamp because its tests are skipped where it fails.
$(VENV)-slic/.installed: pyproject.toml constraints.txt | $(VENV)-slic/.on-top
	$(VENV)-slic/bin/python $(PIP_INSTALL) cython numpy setuptools
	$(VENV)-slic/bin/python $(PIP_INSTALL) --no-build-isolation fast-slic
	$(VENV)-slic/bin/python -c 'import fast_slic'
	@touch $@

$(VENV)-extras/.installed: pyproject.toml constraints.txt | $(VENV)-extras/.on-top
	$(VENV)-extras/bin/python $(PIP_INSTALL) 'gscodec[matting,gsplat]'
	$(VENV)-extras/bin/python -c 'import gsplat, rembg'
	@touch $@

test-slic: $(STAMP) $(VENV)-slic/.installed  ## install fast-slic into .venv-slic and run its tests
	$(VENV)-slic/bin/python -m pytest tests/analysis/test_fast_slic.py tests/analysis/test_superpixel.py $(PYTEST_ARGS)

test-extras: $(STAMP) $(VENV)-extras/.installed  ## the same for rembg and gsplat, without weights and without a GPU
	$(VENV)-extras/bin/python -m pytest tests/analysis/test_rembg.py tests/analysis/test_matting_human.py \
	  tests/splat/test_gsplat_package.py tests/splat/test_gsplat.py $(PYTEST_ARGS)

test-cuda: $(STAMP)  ## run the tests that need an NVIDIA GPU
	$(PIP) --no-build-isolation --editable '.[dev,cuda]'
	$(BIN)/python -m pytest -m cuda $(PYTEST_ARGS)

fuzz: $(STAMP)  ## try many more damaged files than `test` does
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -n $(JOBS) --timeout=0 tests/fuzz $(PYTEST_ARGS)

lint: $(STAMP) type  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(CLANG_FORMAT) --dry-run --Werror

format: $(STAMP)  ## format Python and C++
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(CLANG_FORMAT) -i

type: $(STAMP)  ## check types
	$(BIN)/mypy

docs: $(STAMP)  ## bring the tables in docs/ up to date with the sources
	$(BIN)/python tools/write_docs.py

bench: $(STAMP)  ## measure speed, size and quality (BENCH_ARGS="--help" for more)
	$(BIN)/gscodec bench $(BENCH_ARGS)

vectors: $(STAMP)  ## add conformance files that are new; none is ever changed (tests/conformance)
	$(BIN)/python tools/make_vectors.py

golden: $(STAMP)  ## rewrite the golden figures of rate and quality, on purpose; prints before and after
	$(BIN)/python tools/golden.py

mutate: $(STAMP)  ## put wrong decisions into copies of the encoder; which tests notice (five minutes)
	$(BIN)/python tools/mutate.py

clean:  ## remove what was built and measured (.venv and its like stay)
	rm -rf build dist demo-out bench-out .cache .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
