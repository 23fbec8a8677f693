"""The component in a pipeline: settings, streams, errors, entities, saving and scores."""

import multiprocessing
import pickle
import shutil
from itertools import islice

import pydantic
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import ignore_error

from genre_x import Document, Mention, Reason, Triple, load_task
from genre_x.backends.fake import FakeBackend
from genre_x.errors import BackendError, SchemaError, TaskError, UnknownNameError
from genre_x.resources import shipped
from spacy_component import LLMRelations, get_extraction, to_doc
from spacy_component.settings import Settings

ADA = "Ada Lovelace was born in London."
BOB = "Bob Stone works for Acme Corp."
NOBODY = "The weather was mild."
LONG = "This one is too long for the model."
ANSWERS = {
    ADA: '[["Ada Lovelace","born in","London"]]',
    BOB: '[["Bob Stone","works for","Acme Corp"]]',
    NOBODY: "[]",
}

TASK = """
name: mini
instruction: Extract.
entity_types:
  - {name: person, aliases: [PERSON]}
  - {name: organization, aliases: [ORG]}
relation_types:
  - {name: works for, head_types: [person], tail_types: [organization]}
  - {name: knows, head_types: [person], tail_types: [person], symmetric: true}
attributes:
  - {name: job title, head_types: [person], value: text}
"""


class ReadAheadBackend(FakeBackend):
    """Reads a batch before it answers, as real ones do, and refuses prompts with LONG at that point."""

    def generate(self, requests, *, config, batch_size=32):
        requests = iter(requests)
        while batch := list(islice(requests, batch_size)):
            for request in batch:
                if "too long" in request.prompt.messages[-1].content:
                    raise BackendError("too long")
            yield from super().generate(batch, config=config)


def answer(request):
    text = request.prompt.messages[-1].content
    if "unstable" in text:
        raise RuntimeError("no")
    return next((rows for sentence, rows in ANSWERS.items() if sentence in text), "[]")


@spacy.registry.misc("genre_x.tests.backend.v1")
def make_backend(rows: str | None = None):
    return ReadAheadBackend(answer if rows is None else lambda request: rows)


FAKE = {"@misc": "genre_x.tests.backend.v1"}


def pipeline(*, rows=None, entities=None, **config):
    """An English pipeline, with entities from a rule-based recogniser if some are given."""
    nlp = spacy.blank("en")
    if entities:
        ruler = nlp.add_pipe("entity_ruler")
        ruler.add_patterns([{"pattern": text, "label": label} for text, label in entities.items()])
    nlp.add_pipe("llm_relations", config={"backend": {**FAKE, "rows": rows}, **config})
    return nlp


def shown(doc):
    return [str(relation) for relation in doc._.relations]


@pytest.fixture
def task_file(tmp_path):
    path = tmp_path / "mini.yaml"
    path.write_text(TASK, encoding="utf-8")
    return path


class TestSettings:
    def test_defaults_load_no_model(self):
        nlp = spacy.blank("en")
        component = nlp.add_pipe("llm_relations")
        assert isinstance(component, LLMRelations)
        assert component._extractor is None
        assert "born in" in nlp.pipe_labels["llm_relations"]

    def test_all_settings_are_in_the_config(self):
        nlp = spacy.blank("en")
        nlp.add_pipe("llm_relations", config={"min_score": 0.5})
        expected = {**Settings().model_dump(), "min_score": 0.5, "factory": "llm_relations"}
        assert nlp.config["components"]["llm_relations"] == expected

    def test_settings_reach_the_engine(self, task_file):
        nlp = pipeline(task=str(task_file), strength="none", min_score=0.25, max_new_tokens=7, max_window_tokens=50)
        extractor = nlp.get_pipe("llm_relations").extractor
        assert (extractor.strength, extractor.min_score, extractor.max_window_tokens) == ("none", 0.25, 50)
        assert extractor.config.max_new_tokens == 7
        assert extractor.task.schema.name == "mini"

    def test_a_shipped_task_by_path(self):
        assert pipeline(task="prompts/finance.yaml").get_pipe("llm_relations").task == load_task("finance")

    def test_faults_of_the_task_file_show_at_once(self, tmp_path):
        path = tmp_path / "bad.yaml"
        path.write_text("name: x\n", encoding="utf-8")
        with pytest.raises(TaskError, match="relation_types"):
            spacy.blank("en").add_pipe("llm_relations", config={"task": str(path)})

    @pytest.mark.parametrize("config", [{"task": "generl"}, {"task": "no/such.yaml"}, {"backend": "transformer"}])
    def test_unknown_names_show_at_once(self, config):
        with pytest.raises(UnknownNameError, match="Available"):
            spacy.blank("en").add_pipe("llm_relations", config=config)

    @pytest.mark.parametrize("config", [{"min_score": 2.0}, {"batch_size": 0}, {"extension": "not a name"}])
    def test_values_out_of_range(self, config):
        with pytest.raises(pydantic.ValidationError):
            spacy.blank("en").add_pipe("llm_relations", config=config)

    def test_values_of_closed_sets(self):
        with pytest.raises(ValueError, match="entities"):
            spacy.blank("en").add_pipe("llm_relations", config={"entities": "ents"})

    def test_initialize_makes_the_engine(self):
        nlp = pipeline()
        nlp.initialize()
        assert nlp.get_pipe("llm_relations")._extractor is not None

    def test_analyze_pipes(self):
        analysis = pipeline().analyze_pipes()
        assert analysis["summary"]["llm_relations"]["assigns"] == ["doc._.relations", "doc.spans"]
        assert "rel_micro_f" in analysis["summary"]["llm_relations"]["scores"]
        assert analysis["problems"]["llm_relations"] == []

    def test_entry_point(self):
        import tomllib
        from pathlib import Path

        import spacy_component.component

        project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8"))
        entry_point = project["project"]["entry-points"]["spacy_factories"]["llm_relations"]
        assert entry_point == "spacy_component.component:make_llm_relations"
        assert callable(spacy_component.component.make_llm_relations)


class TestStreams:
    def test_one_doc(self):
        doc = pipeline()(ADA)
        (relation,) = doc._.relations
        assert (relation.head.text, relation.relation, relation.tail.text) == ("Ada Lovelace", "born in", "London")
        assert (relation.head.label_, relation.tail.label_) == ("person", "location")
        assert relation.evidence.text == ADA
        assert relation.to_dict()["head"]["start_char"] == 0

    def test_nothing_found_differs_from_not_seen(self):
        nlp = pipeline()
        assert get_extraction(nlp(NOBODY)).triples == ()
        assert get_extraction(nlp.make_doc(NOBODY)) is None
        assert nlp.make_doc(NOBODY)._.relations == []

    @pytest.mark.parametrize("batch_size", [1, 2, 1000])
    def test_order(self, batch_size):
        texts = [ADA, NOBODY, BOB, "", " \n ", ADA, BOB] * 3
        docs = list(pipeline().pipe(texts, batch_size=batch_size))
        assert [doc.text for doc in docs] == texts
        assert [bool(doc._.relations) for doc in docs] == [text in (ADA, BOB) for text in texts]

    def test_same_as_one_by_one(self):
        nlp = pipeline()
        texts = [ADA, NOBODY, BOB]
        alone = [get_extraction(nlp(text)) for text in texts]
        assert [get_extraction(doc) for doc in nlp.pipe(texts)] == alone

    def test_contexts_survive(self):
        pairs = [(ADA, {"id": 1}), (LONG, {"id": 2}), (BOB, {"id": 3})]
        nlp = pipeline()
        nlp.set_error_handler(ignore_error)
        found = [(doc.text, context["id"]) for doc, context in nlp.pipe(pairs, as_tuples=True)]
        assert found == [(ADA, 1), (BOB, 3)]

    def test_batch_size_is_the_smaller_one(self, monkeypatch):
        nlp = pipeline(batch_size=4)
        seen = []
        backend = nlp.get_pipe("llm_relations").extractor.backend
        generate = backend.generate
        monkeypatch.setattr(backend, "generate", lambda *a, batch_size, **k: seen.append(batch_size) or generate(*a, **k))
        list(nlp.pipe([ADA]))  # spaCy says 1000
        list(nlp.pipe([ADA], batch_size=2))
        assert seen == [4, 2]

    def test_is_lazy(self):
        read = []

        def texts():
            for number in range(100):
                read.append(number)
                yield f"{ADA} {number}"

        docs = pipeline(batch_size=4).pipe(texts())
        next(docs)
        assert len(read) <= 8

    def test_processes(self):
        texts = [ADA, NOBODY, BOB, ADA]
        nlp = pipeline()
        nlp.get_pipe("llm_relations").extractor.backend.generate  # noqa: B018  # made before the fork
        docs = list(nlp.pipe(texts, n_process=2, batch_size=2))
        assert [doc.text for doc in docs] == texts
        assert [get_extraction(doc) for doc in docs] == [get_extraction(nlp(text)) for text in texts]

    def test_a_gpu_in_a_worker_fails_clearly(self, monkeypatch):
        import torch

        component = LLMRelations(Settings())
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(BackendError, match="n_process=1"):
            _ = component.extractor


class TestErrors:
    def collect(self, nlp, texts, **options):
        failed = []
        nlp.set_error_handler(lambda name, proc, docs, error: failed.append((name, [doc.text for doc in docs], error)))
        return [doc.text for doc in nlp.pipe(texts, **options)], failed

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
    @pytest.mark.parametrize("bad", [LONG, "An unstable one."])
    def test_one_bad_doc_fails_alone(self, bad, batch_size):
        texts = [ADA, NOBODY, bad, BOB, ADA, bad, bad, NOBODY]
        passed, failed = self.collect(pipeline(), texts, batch_size=batch_size)
        assert passed == [text for text in texts if text != bad]
        assert [(name, docs) for name, docs, _ in failed] == [("llm_relations", [bad])] * 3
        assert all("llm_relations" not in str(error) for *_, error in failed)

    def test_the_others_keep_their_relations(self):
        nlp = pipeline()
        nlp.set_error_handler(ignore_error)
        assert [shown(doc) for doc in nlp.pipe([ADA, LONG, BOB])] == [
            ["Ada Lovelace --[born in]--> London"],
            ["Bob Stone --[works for]--> Acme Corp"],
        ]

    def test_a_doc_that_can_not_be_converted(self, monkeypatch):
        convert = LLMRelations._to_document

        def fails_for_bob(self, doc):
            if doc.text == BOB:
                raise ValueError("bad entities")
            return convert(self, doc)

        monkeypatch.setattr(LLMRelations, "_to_document", fails_for_bob)
        for texts in ([ADA, BOB, NOBODY], [BOB], [BOB, BOB, LONG, BOB, ADA, BOB]):
            passed, failed = self.collect(pipeline(), texts)
            assert passed == [text for text in texts if text not in (BOB, LONG)]
            assert [docs for _, docs, _ in failed] == [[text] for text in texts if text in (BOB, LONG)]

    def test_a_result_that_can_not_be_stored(self, monkeypatch):
        import spacy_component.component as module

        store = module.set_extraction

        def fails_for_bob(doc, extraction, **options):
            if doc.text == BOB:
                raise ValueError("full")
            store(doc, extraction, **options)

        monkeypatch.setattr(module, "set_extraction", fails_for_bob)
        passed, failed = self.collect(pipeline(), [ADA, BOB, NOBODY])
        assert (passed, [docs for _, docs, _ in failed]) == ([ADA, NOBODY], [[BOB]])

    def test_raises_by_default(self):
        nlp = pipeline()
        docs = nlp.pipe([ADA, LONG, BOB], batch_size=1)
        assert next(docs).text == ADA
        with pytest.raises(BackendError, match="too long"):
            next(docs)
        with pytest.raises(BackendError, match="too long"):
            nlp(LONG)

    def test_one_doc_that_fails_is_returned_without_result(self):
        nlp = pipeline()
        calls = []
        nlp.set_error_handler(lambda *arguments: calls.append(arguments))
        doc = nlp(LONG)
        assert (get_extraction(doc), len(calls)) == (None, 1)

    def test_no_older_result_stays_on_a_doc_that_fails(self):
        nlp = pipeline()
        nlp.set_error_handler(ignore_error)
        doc = to_doc(Document("1", LONG, triples=()), nlp)
        assert get_extraction(doc) is not None
        assert get_extraction(nlp(doc)) is None

    def test_an_error_of_the_component_before_is_not_ours(self):
        nlp = pipeline()
        component = nlp.get_pipe("llm_relations")
        handled = []
        component.set_error_handler(lambda *arguments: handled.append(arguments))

        def docs():
            yield nlp.make_doc(ADA)
            yield nlp.make_doc(BOB)
            raise LookupError("upstream")

        found = component.pipe(docs())
        assert [next(found).text, next(found).text] == [ADA, BOB]
        with pytest.raises(LookupError, match="upstream"):
            next(found)
        assert handled == []

    def test_a_model_that_can_not_be_made_is_no_fault_of_a_doc(self, monkeypatch):
        import genre_x.extractor

        def refuse(name, **options):
            raise BackendError("no weights")

        monkeypatch.setattr(genre_x.extractor, "get_backend", refuse)
        nlp = spacy.blank("en")
        nlp.add_pipe("llm_relations")
        nlp.set_error_handler(ignore_error)
        with pytest.raises(BackendError, match="no weights"):
            list(nlp.pipe([ADA]))


class TestEntities:
    TEXT = "Ada Stone, head of Acme Corp in Rome, knows Bob."

    def test_generated_ignores_entities(self):
        nlp = pipeline(entities={"Lovelace": "PERSON"})
        assert shown(nlp(ADA)) == ["Ada Lovelace --[born in]--> London"]

    def test_doc_ents_are_the_only_choice(self, task_file):
        rows = '[["Ada Stone","works for","Acme Corp"],["Ada Stone","works for","Rome"],["Ada Stone","job title","head"]]'
        entities = {"Ada Stone": "PERSON", "Acme Corp": "ORG", "Rome": "GPE", "Bob": "person"}
        nlp = pipeline(task=str(task_file), entities=entities, rows=rows)
        component_entities = pipeline(task=str(task_file), entities=entities, rows=rows, entities_="") if False else None
        assert component_entities is None
        doc = nlp(self.TEXT)
        assert len(doc._.relations) == 3
