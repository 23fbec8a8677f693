"""The sentences written for this project, and the mixtures that name them."""

from collections import Counter
from pathlib import Path

import pytest

from eval.sentences import OWN_TASKS
from genre_x.datasets import load_sentences
from genre_x.task import load_task
from genre_x.training.config import Mixture, load_mapping
from genre_x.training.schemas import is_grounded, load_paraphrases

ROOT = Path(__file__).parent.parent.parent
MIXTURES = sorted((ROOT / "eval" / "mixtures").glob("default.*.yaml"))


def own_sources(mixture):
    return {(source.sentences, source.task) for source in mixture.sources if source.sentences is not None}


def load(path):
    return Mixture.model_validate(load_mapping(path))


OWN = sorted(set().union(*(own_sources(load(path)) for path in MIXTURES)))


@pytest.mark.parametrize(("sentences", "task"), OWN, ids=lambda value: Path(value).name)
def test_sentences_can_be_answered_under_the_constraint(sentences, task):
    documents = load_sentences(sentences, task).documents
    assert [document.text for document in documents if not is_grounded(document, document.triples)] == []
    counts = Counter(document.text for document in documents)
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("task", OWN_TASKS)
def test_no_development_sentence_is_trained_on(task):
    train, dev = (
        {document.text for document in load_sentences(ROOT / "eval" / "data" / f"{task}.{split}.jsonl", task).documents}
        for split in ("train", "dev")
    )
    assert train & dev == set()


@pytest.mark.parametrize("path", MIXTURES, ids=lambda path: path.name)
def test_no_own_task_and_no_paraphrase_shows_what_is_left_out(path):
    mixture = load(path)
    left_out = {name.lower() for name in mixture.leave_out}
    paraphrases = load_paraphrases(ROOT / "eval" / "mixtures" / "paraphrases.yaml")
    names = {name.lower() for key, others in paraphrases.items() for name in (key, *others)}
    names |= {relation.name.lower() for _, task in own_sources(mixture) for relation in load_task(task).schema.relation_types}
    assert left_out & names == set()


def test_every_paraphrase_stands_once():
    lines = (ROOT / "eval" / "mixtures" / "paraphrases.yaml").read_text(encoding="utf-8").splitlines()
    keys = Counter(line.partition(":")[0] for line in lines if line and not line.startswith("#"))
    assert [key for key, count in keys.items() if count > 1] == []
