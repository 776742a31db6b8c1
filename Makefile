# make book       the book in _build/html (the first time also the environment, in .venv)
# make test       every check: lint, catalog, tests, notebooks, the built pages
# make serve      show the built book at http://localhost:8000
# make lab        open the chapters in JupyterLab
# make chapters   execute the chapters whose source, or code that they show, changed; then check them
# make claims     only the tests of the papers' claims
# make bench      time and memory against other libraries, as ratios in one run

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: bench book chapters check claims clean lab render serve test
.DEFAULT_GOAL := book

PYTHON ?= python3
PORT ?= 8000
JOBS ?= 2
BIN := .venv/bin
INSTALLED := .venv/installed
JUPYTER_BOOK := $(BIN)/jupyter-book build . --toc book/_toc.yml -n --keep-going

# One thread for each process: equal numbers everywhere, and faster on small tensors.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export PYTHONHASHSEED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The only step that needs the network. It runs again when a requirement changes.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --requirement requirements.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	touch $@

render: $(INSTALLED)
	$(BIN)/python -m survey render

book: render
	$(JUPYTER_BOOK)
	@echo "The book is in $(CURDIR)/_build/html: open index.html there, or run 'make serve'."

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m survey check
	$(BIN)/python book/make.py check

# All pages are built anew, since a page that is not read again keeps its warnings to itself.
test: check render
	$(JUPYTER_BOOK) --all -W
	CODEBOOK_BOOK_BUILT=1 $(BIN)/python -m pytest -n $(JOBS)
	$(BIN)/python book/make.py validate --jobs $(JOBS)

chapters: $(INSTALLED)
	$(BIN)/python book/make.py run
	$(BIN)/python book/make.py check

claims: $(INSTALLED)
	CODEBOOK_LONG=1 $(BIN)/python -m pytest -m claim

bench: $(INSTALLED)
	$(BIN)/python -m impl.speed --out survey/results/speed.json

serve:
	@test -f _build/html/index.html || { echo "There is no book yet; run 'make book' first." >&2; exit 1; }
	$(PYTHON) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

lab: $(INSTALLED)
	$(BIN)/jupyter lab book/chapters

clean:
	rm -rf _build
