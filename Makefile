# Two commands are enough for a newcomer: `make run` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/data
NAME ?= throng-m
RECIPE ?= $(NAME)
RUN ?= runs/$(RECIPE)
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help run check format lint types layers fast test train distill bundle screenshot image clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run.stamp ## install the service (no torch) and start it with the demo scene
	@$(BIN)/throng serve --port $(PORT)

test: .venv/dev.stamp ## every test; installs all they need except Debian packages (.ci/packages.txt)
	$(BIN)/pytest

check: format lint types layers fast ## what must be green before a commit

format: .venv/dev.stamp ## is the code formatted?
	$(BIN)/ruff format --check .

lint: .venv/dev.stamp ## ruff
	$(BIN)/ruff check .

types: .venv/dev.stamp ## mypy, strict
	$(BIN)/mypy

layers: .venv/dev.stamp ## imports point one way
	$(BIN)/lint-imports

fast: .venv/dev.stamp ## tests under two seconds
	$(BIN)/pytest -q -m "not slow and not long"

# glibc gives large buffers back to the kernel after each step unless it is told not to: up to 30 %.
train: export MALLOC_MMAP_THRESHOLD_ = 1073741824
train: export MALLOC_TRIM_THRESHOLD_ = 1073741824
train: export MALLOC_TOP_PAD_ = 268435456
train: .venv/dev.stamp ## train RECIPE on the data pack in DATA; goes on where it stopped
	$(BIN)/throng-distill run $(RECIPE) --data $(DATA) --out $(RUN)

distill: .venv/dev.stamp ## what ships, from nothing: throng-m, then throng-s by its features and maps (hours); goes on where it stopped
	for recipe in throng-m-whole throng-m-cut throng-m \
		throng-m-mixed throng-m-finished throng-m-harsh throng-m-steady \
		throng-s-instructed throng-s-first throng-s-second throng-s \
		throng-s-taught throng-s-finished throng-s-mixed throng-s-mixed-finished \
		throng-s-harsh; do \
		$(MAKE) train RECIPE=$$recipe RUN=runs/$$recipe || exit; done
	$(MAKE) bundle NAME=throng-m RECIPE=throng-m-steady RUN=runs/throng-m-steady
	$(MAKE) bundle NAME=throng-s RECIPE=throng-s-harsh RUN=runs/throng-s-harsh

bundle: .venv/dev.stamp ## evaluate, export and check the trained student: deploy/zoo/NAME
	$(BIN)/throng-distill evaluate $(RUN)/best.safetensors --data $(DATA) --counts $(RUN)/val.csv
	$(BIN)/throng-distill evaluate $(RUN)/best.safetensors --data $(DATA) --split train_brt --fold held --counts $(RUN)/brt.csv
	$(BIN)/throng-distill evaluate $(RUN)/best.safetensors --data $(DATA) --split train_empty --fold held --counts $(RUN)/empty.csv
	$(BIN)/throng-distill evaluate $(RUN)/best.safetensors --dataset plaza --counts $(RUN)/plaza.csv
	$(BIN)/throng-deploy export $(RUN)/best.safetensors --name $(NAME) \
		--counts $(RUN)/val.csv --counts $(RUN)/brt.csv --counts $(RUN)/empty.csv --counts $(RUN)/plaza.csv
	$(BIN)/throng-deploy quantise $(NAME) --pictures $(DATA)/train
	$(BIN)/throng-deploy parity $(NAME) --pictures $(DATA)/val

screenshot: .venv/dev.stamp ## the pictures of the README, from a running service (needs Chromium)
	$(BIN)/python tests/e2e/screenshot.py docs/page.png docs/heatmap.png

image: ## the CPU image, where there is a Docker engine
	docker build -t throng .

clean: ## forget the environment and caches, keep runs and history
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Throng needs Python 3.11 or newer; name one: make PYTHON=python3.12 run"; exit 2; }
	@$(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "Python has no venv here: apt install python3-venv"; exit 2; }

.venv/run.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install -q --no-compile --disable-pip-version-check -c constraints.txt -e '.[openvino]'
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch .venv/run.stamp $@
