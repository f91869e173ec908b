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

# Threads that wait for each other give their core away: a machine with other work is then not ten times slower.
export OMP_WAIT_POLICY ?= PASSIVE

# Tests start many processes, and each would compile the library and what tests it anew where bytecode is not kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test env lint unit assignments promises pairs notebooks site-assets book pdf serve lab badges reference times wheels findings run-notebooks clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(ENV) ## example pictures and six labels become videos, in out/demo
	$(TOOK) install/demo $(PY) -m lfdm_lite.cli generate $(PICTURES) --label all --seed 0 --scale 3 \
		--out out/demo/clip.gif --out out/demo/clip.mp4 --sheet out/demo/sheet.png

test: lint unit assignments notebooks book ## everything that is checked, and what it took
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
	OMP_NUM_THREADS=1 $(TOOK) unit/tests $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m 'not site and not hostile and not assignments' tests
	$(TOOK) hostile $(PY) -m pytest -m hostile tests/hostile --hostile $(HOSTILE)

assignments: $(ENV) ## problem sets: right and wrong answers are marked, a course is handed out and comes back
	OMP_NUM_THREADS=1 $(TOOK) assignments $(PY) -m pytest -n $(WORKERS) --dist loadfile -m assignments \
		$$(grep -l 'mark\.assignments' tests/test_*.py)

promises: $(ENV) ## by itself, every test that the page of promises names
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(WORKERS) --dist loadfile --durations 5 \
		$$(grep -oE '[a-z_/]+\.py::test_\w+' chapters/promises.md | sort -u | sed 's|^|tests/|')

pairs: $(ENV) ## do notebooks and their .py say the same?
	$(PY) -m pytest tests/test_house.py -k pair

notebooks: $(ENV) ## run every chapter, compare with its stored outputs, and run its solutions
	OMP_NUM_THREADS=1 $(TOOK) chapters $(PY) -m pytest -n $(WORKERS) --nbval --solutions chapters

site-assets: $(ENV) ## the model and ONNX Runtime for the book's live page, into _build/live
	$(TOOK) book/assets $(PY) -m webpage.assets

book: $(ENV) ## build the book to _build/html, warnings are errors; without a network its live page shows recorded videos
	-@$(MAKE) --no-print-directory site-assets
	$(TOOK) book/build $(PY) -m jupyter book build . --config jupyter-book.yml -W -n --keep-going
	$(TOOK) book/pages $(PY) -m pytest -rs -n $(WORKERS) --dist loadscope -m site tests/test_live_page.py tests/test_site*.py

pdf: $(ENV) ## print the built book, as one PDF, to _build/book.pdf
	$(PY) -m webpage.paper

lab: $(ENV) ## open the chapters in JupyterLab
	$(PY) -m jupyterlab chapters/

badges: $(ENV) ## launch badges in every chapter: REPOSITORY_URL=https://github.com/..., or none to take them out
	$(PY) launch/badges.py $(REPOSITORY_URL)

reference: $(ENV) ## write chapters/reference.md from the docstrings
	$(PY) -m tests.reference

times: $(ENV) ## run every chapter and write its seconds and memory into its metadata and the README
	$(PY) -m tests.chapter_times

wheels: $(ENV) ## what launch/short_gpu.sh needs on a GPU machine without a network, into wheels/
	$(PY) -m launch.short.packages fill wheels

findings: $(ENV) ## are the surprises in other packages still there? outside `make test`, needs a network
	$(PY) findings/run.py

serve: book ## build the book and show it at http://localhost:8000
	$(PY) -m webpage.serve 8000

run-notebooks: $(ENV) ## after editing chapters/*.py: write the .ipynb, run them, store the outputs
	$(PY) -m jupytext --to ipynb --update chapters/[0-9]*.py
	MATPLOTLIBRC=/dev/null $(PY) -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.store_widget_state=False chapters/[0-9]*.ipynb
	$(PY) -m nbconvert --to notebook --inplace --CoalesceStreamsPreprocessor.enabled=True chapters/[0-9]*.ipynb
	-$(PY) -m tests.smaller_pictures chapters/[0-9]*.ipynb

clean: ## remove what these commands wrote, except .venv
	rm -rf _build out .pytest_cache .ruff_cache .mypy_cache .nox build dist *.egg-info
