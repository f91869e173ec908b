# The few commands a person types; `make help` lists them.
# An environment of your own instead of .venv: make test PY=python
# Your own pictures: make demo PICTURES='me.jpg you.jpg'

PYTHON ?= python3
VENV ?= .venv
PY ?= $(VENV)/bin/python
TOOK = $(PY) -m tests.took# runs a stage and notes its minutes, for the budgets
WORKERS ?= 2
HOSTILE ?= 150
PICTURES ?= $(wordlist 1,2,$(sort $(wildcard assets/examples/*.png)))

# Only the environment that this Makefile makes is also installed by it.
ifeq ($(origin PY),file)
ENV := $(VENV)/.installed
endif

.DEFAULT_GOAL := help
.PHONY: help demo test env lint unit pairs notebooks book serve lab badges reference times run-notebooks clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(ENV) ## example pictures and six labels become videos, in out/demo
	$(TOOK) install/demo $(PY) -m lfdm_lite.cli generate $(PICTURES) --label all --seed 0 --scale 3 \
		--out out/demo/clip.gif --out out/demo/clip.mp4 --sheet out/demo/sheet.png

test: lint unit notebooks book ## everything that is checked, and what it took
	$(PY) -m tests.budgets

env: $(ENV) ## make .venv and install the exact versions of constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is %d.%d: make PYTHON=..." % sys.version_info[:2])'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PYTHON) -m tests.took install/environment $(PY) -m pip install -c constraints.txt -e '.[all]'
	@touch $@

lint: $(ENV) ## ruff
	$(TOOK) unit/lint $(PY) -m ruff check .

unit: $(ENV) ## tests of the library and of the repository, and HOSTILE=150 broken or odd inputs
	OMP_NUM_THREADS=1 $(TOOK) unit/tests $(PY) -m pytest -n $(WORKERS) --dist loadfile \
		-m 'not site and not solutions and not hostile' tests
	$(TOOK) hostile $(PY) -m pytest -m hostile tests/hostile --hostile $(HOSTILE)

pairs: $(ENV) ## do notebooks and their .py say the same?
	$(PY) -m pytest tests/test_house.py -k pair

notebooks: $(ENV) ## run every chapter, compare with its stored outputs, and run its solutions
	$(TOOK) chapters $(PY) -m pytest --nbval chapters
	OMP_NUM_THREADS=1 $(TOOK) solutions $(PY) -m pytest -n $(WORKERS) -m solutions tests/test_chapters.py

book: $(ENV) ## build the book to _build/html, warnings are errors
	$(TOOK) book/build $(PY) -m jupyter book build . --config jupyter-book.yml -W -n --keep-going
	$(TOOK) book/pages $(PY) -m pytest tests/test_site.py

lab: $(ENV) ## open the chapters in JupyterLab
	$(PY) -m jupyterlab chapters/

badges: $(ENV) ## launch badges in every chapter: REPOSITORY_URL=https://github.com/..., or none to take them out
	$(PY) launch/badges.py $(REPOSITORY_URL)

reference: $(ENV) ## write chapters/reference.md from the docstrings
	$(PY) -m tests.reference

times: $(ENV) ## run every chapter and write its seconds and memory into its metadata and the README
	$(PY) -m tests.chapter_times

serve: book ## build the book and show it at http://localhost:8000
	$(PY) -m http.server --directory _build/html 8000

run-notebooks: $(ENV) ## after editing chapters/*.py: write the .ipynb, run them, store the outputs
	$(PY) -m jupytext --to ipynb --update chapters/[0-9]*.py
	MATPLOTLIBRC=/dev/null $(PY) -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.store_widget_state=False --CoalesceStreamsPreprocessor.enabled=True chapters/[0-9]*.ipynb

clean: ## remove what these commands wrote, except .venv
	rm -rf _build out .pytest_cache .ruff_cache build *.egg-info
