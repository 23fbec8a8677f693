"""The component in a pipeline: settings, streams, errors, entities, saving and scores."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import tomllib
from itertools import islice
from pathlib import Path

import pydantic
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import ignore_error

from genre_x import Document, Mention, Reason, Triple, load_task
from genre_x.backends.fake import FakeBackend
from genre_x.errors import BackendError, TaskError, UnknownNameError
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


def pipeline(*, rows=None, ruler=None, **config):
    """An English pipeline; `ruler` gives the entities that a rule-based recogniser finds, `rows` the model's only answer."""
    nlp = spacy.blank("en")
    if ruler is not None:
        patterns = [{"pattern": text, "label": label} for text, label in ruler.items()]
        nlp.add_pipe("entity_ruler").add_patterns(patterns)
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
        nlp = pipeline(
            task=str(task_file), strength="none", n_answers=3, min_score=0.25, max_new_tokens=7, max_window_tokens=50
        )
        extractor = nlp.get_pipe("llm_relations").extractor
        assert (extractor.strength, extractor.min_score, extractor.max_window_tokens) == ("none", 0.25, 50)
        assert extractor.n_answers == 3
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

    def test_entry_point(self, tmp_path):
        """As installed, the factory is there without an import of ours, and no model library is loaded for it."""
        root = Path(__file__).parents[2]
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        group = project["entry-points"]["spacy_factories"]
        folder = tmp_path / "genre_x-0.dist-info"
        folder.mkdir()
        folder.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: genre-x\nVersion: 0\n", encoding="utf-8")
        lines = ["[spacy_factories]", *(f"{name} = {target}" for name, target in group.items())]
        folder.joinpath("entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        code = (
            "import sys, spacy; from spacy.tokens import Doc; nlp = spacy.blank('en'); "
            "taken = Doc.has_extension('relations'); nlp.add_pipe('llm_relations'); "
            "print(taken, Doc.has_extension('relations'), 'transformers' in sys.modules, 'vllm' in sys.modules)"
        )
        paths = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
        run = subprocess.run([sys.executable, "-c", code], env=paths, cwd=tmp_path, capture_output=True, text=True)
        assert (run.stdout.strip(), run.returncode) == ("False True False False", 0), run.stderr


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
        assert {str(error) for *_, error in failed} == {"too long" if bad == LONG else "no"}

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
        nlp = pipeline(ruler={"Lovelace": "PERSON"})
        assert shown(nlp(ADA)) == ["Ada Lovelace --[born in]--> London"]

    def test_doc_ents_are_the_only_choice(self, task_file):
        rows = """[["Ada Stone","works for","Acme Corp"],["Stone","works for","Acme Corp"],["Ada Stone","knows","Rome"],
            ["Ada Stone","job title","head"],["Bob","works for","Acme Corp"]]"""
        ruler = {"Ada Stone": "PERSON", "Acme Corp": "ORG", "Rome": "GPE", "Bob": "person"}
        nlp = pipeline(task=str(task_file), ruler=ruler, rows=rows, entities="doc.ents")
        doc = nlp(self.TEXT)
        assert shown(doc) == [
            "Ada Stone --[works for]--> Acme Corp",
            "Ada Stone --[job title]--> head",
            "Bob --[works for]--> Acme Corp",
        ]
        assert [rejection.reason for rejection in get_extraction(doc).rejections] == [Reason.UNGROUNDED] * 2
        (request,) = nlp.get_pipe("llm_relations").extractor.backend.requests
        rules = "".join(line for line in request.constraint.definition.splitlines() if line.startswith("entry"))
        assert ('"Bob"' in rules, '"Rome"' in rules) == (True, False)

    def test_doc_ents_are_marked_in_the_prompt_on_request(self, task_file):
        ruler = {"Ada Stone": "PERSON", "Rome": "GPE"}
        nlp = pipeline(task=str(task_file), ruler=ruler, rows="[]", entities="doc.ents", mark_mentions=True)
        nlp(self.TEXT)
        (request,) = nlp.get_pipe("llm_relations").extractor.backend.requests
        assert request.prompt.messages[-1].content.startswith("[Ada Stone], head of Acme Corp in Rome")

    def test_doc_ents_of_an_untyped_task_have_any_label(self, tmp_path):
        path = tmp_path / "untyped.yaml"
        path.write_text("{name: u, instruction: Go., relation_types: [{name: knows}]}", encoding="utf-8")
        rows = '[["Ada Stone","knows","Rome"],["Ada","knows","Rome"]]'
        nlp = pipeline(task=str(path), ruler={"Ada Stone": "X", "Rome": "Y"}, rows=rows, entities="doc.ents")
        assert shown(nlp(self.TEXT)) == ["Ada Stone --[knows]--> Rome"]

    def test_doc_ents_without_a_recogniser_warns_once(self, task_file):
        nlp = pipeline(task=str(task_file), entities="doc.ents")
        with pytest.warns(UserWarning, match="named entity recogniser") as caught:
            docs = list(nlp.pipe([ADA, BOB]))
        assert len(caught) == 1
        assert [doc._.relations for doc in docs] == [[], []]

    def test_a_recogniser_that_finds_nothing_does_not_warn(self, task_file, recwarn):
        pipeline(task=str(task_file), ruler={"Zoe": "PERSON"}, entities="doc.ents")(ADA)
        assert not recwarn.list

    def test_both_gives_mentions_the_limits_of_entities(self, task_file):
        rows = """[["Stone","works for","Acme"],["Ada","works for","Acme Corp"],["Ada Stone","knows","Bob"],
            ["Bob","knows","Ada"],["Ada","job title","head of Acme"],["Ada","knows","Stone"]]"""
        nlp = pipeline(
            task=str(task_file), ruler={"Ada Stone": "GPE", "Acme Corp": "ORG"}, rows=rows, entities="both", set_ents=False
        )
        doc = nlp(self.TEXT)
        assert shown(doc) == [
            "Ada Stone --[works for]--> Acme Corp",
            "Ada Stone --[knows]--> Bob",
            "Ada Stone --[job title]--> head of Acme",  # a value, not an entity
        ]
        assert doc._.relations[0].head.label_ == "person"
        (rejection,) = get_extraction(doc).rejections
        assert (rejection.reason, rejection.fragment) == (Reason.SELF_RELATION, '["Ada", "knows", "Stone"]')
        assert [(entity.text, entity.label_) for entity in doc.ents] == [("Ada Stone", "GPE"), ("Acme Corp", "ORG")]

    def test_set_ents_adds_where_there_is_none(self, task_file):
        rows = '[["Ada","works for","Acme Corp"],["Ada Stone","knows","Bob"],["Bob","job title","head"]]'
        nlp = pipeline(task=str(task_file), ruler={"Acme": "PRODUCT", "Rome": "GPE"}, rows=rows, set_ents=True)
        doc = nlp(self.TEXT)
        found = [(entity.text, entity.label_) for entity in doc.ents]
        assert found == [("Ada Stone", "person"), ("Acme", "PRODUCT"), ("Rome", "GPE"), ("Bob", "person")]

    def test_set_ents_without_a_recogniser(self):
        doc = pipeline(set_ents=True)(ADA)
        assert [(entity.text, entity.label_) for entity in doc.ents] == [("Ada Lovelace", "person"), ("London", "location")]
        assert doc.has_annotation("ENT_IOB", require_complete=True)

    def test_ents_stay_as_they_are_when_asked(self):
        assert pipeline(set_ents=False)(ADA).ents == ()


class TestSaving:
    def test_disk(self, task_file, tmp_path):
        nlp = pipeline(task=str(task_file), min_score=0.0, batch_size=3)
        nlp.to_disk(tmp_path / "nlp")
        task_file.unlink()  # the saved pipeline has its text
        loaded = spacy.load(tmp_path / "nlp")
        component = loaded.get_pipe("llm_relations")
        assert loaded.config["components"] == nlp.config["components"]
        assert component.task == nlp.get_pipe("llm_relations").task
        assert get_extraction(loaded(BOB)) == get_extraction(nlp(BOB))

    def test_the_saved_text_counts_even_if_the_file_has_changed(self, task_file, tmp_path):
        pipeline(task=str(task_file)).to_disk(tmp_path / "nlp")
        task_file.write_text(TASK.replace("knows", "likes"), encoding="utf-8")
        assert "knows" in spacy.load(tmp_path / "nlp").get_pipe("llm_relations").labels

    def test_settings_can_be_overridden_when_loading(self, task_file, tmp_path):
        pipeline(task=str(task_file)).to_disk(tmp_path / "nlp")
        overrides = {"components": {"llm_relations": {"task": "finance", "min_score": 0.5}}}
        component = spacy.load(tmp_path / "nlp", config=overrides).get_pipe("llm_relations")
        assert component.task == load_task("finance")
        assert component.extractor.min_score == 0.5

    def test_a_saved_pipeline_that_lost_its_task_says_so(self, task_file, tmp_path):
        pipeline(task=str(task_file)).to_disk(tmp_path / "nlp")
        task_file.unlink()
        shutil.rmtree(tmp_path / "nlp" / "llm_relations")
        (tmp_path / "nlp" / "llm_relations").mkdir()
        loaded = spacy.load(tmp_path / "nlp")
        assert loaded.pipe_labels["llm_relations"] == []
        with pytest.raises(UnknownNameError, match=r"mini\.yaml"):
            loaded(ADA)

    def test_bytes(self, task_file):
        nlp = pipeline(task=str(task_file))
        other = spacy.blank("en").from_config(nlp.config)
        task_file.write_text(TASK.replace("knows", "likes"), encoding="utf-8")
        other.from_bytes(nlp.to_bytes())
        assert other.get_pipe("llm_relations").task == nlp.get_pipe("llm_relations").task

    def test_exclude(self, task_file, tmp_path):
        component = pipeline(task=str(task_file)).get_pipe("llm_relations")
        component.to_disk(tmp_path / "c", exclude=["task.yaml"])
        assert [path.name for path in (tmp_path / "c").iterdir()] == ["settings.json"]
        assert component.from_disk(tmp_path / "c") is component
        assert component.from_bytes(component.to_bytes(), exclude=["task.yaml"]) is component

    def test_config_text(self, task_file):
        nlp = pipeline(task=str(task_file), entities="both", set_ents=True)
        config = spacy.util.load_config_from_str(nlp.config.to_str())
        other = spacy.util.load_model_from_config(config, auto_fill=True)
        assert other.get_pipe("llm_relations").settings.model_dump(exclude={"backend"}) == nlp.get_pipe(
            "llm_relations"
        ).settings.model_dump(exclude={"backend"})
        assert shown(other(BOB)) == shown(nlp(BOB)) == ["Bob Stone --[works for]--> Acme Corp"]

    def test_pickle_leaves_the_model_out(self):
        component = LLMRelations(Settings(task="finance", backend="fake"))
        assert component.extractor is component.extractor
        copy = pickle.loads(pickle.dumps(component))  # noqa: S301
        assert (copy.settings, copy.task) == (component.settings, component.task)
        assert copy._extractor is None
        assert copy.extractor.task == component.task

    def test_from_another_pipeline(self):
        nlp = spacy.blank("en")
        nlp.add_pipe("llm_relations", source=pipeline())
        assert shown(nlp(ADA)) == ["Ada Lovelace --[born in]--> London"]


class TestExtension:
    def test_two_components(self):
        nlp = pipeline()
        config = {"backend": {**FAKE, "rows": '[["London","located in","London"]]'}, "spans_key": "b", "extension": "more"}
        nlp.add_pipe("llm_relations", name="second", config=config)
        doc = nlp(ADA)
        assert shown(doc) == ["Ada Lovelace --[born in]--> London"]
        assert doc._.more == []
        assert len(get_extraction(doc, spans_key="b").rejections) == 1

    def test_a_name_that_is_taken(self):
        Doc.set_extension("taken_by_other", default=None)
        with pytest.raises(ValueError, match="another library"):
            pipeline(extension="taken_by_other")
        with pytest.raises(ValueError, match=r"shows doc\.spans\['relations'\]"):
            pipeline(extension="relations", spans_key="other")
        assert Doc.get_extension("taken_by_other")[0] is None

    def test_read_only(self):
        doc = pipeline()(ADA)
        with pytest.raises(AttributeError, match="set_extraction"):
            doc._.relations = []
        assert len(doc._.relations) == 1


class TestScores:
    def gold(self, text, *triples):
        def mention(fragment, type_name):
            start = text.index(fragment)
            return Mention(start, start + len(fragment), fragment, type_name)

        return Document(
            "1",
            text,
            triples=tuple(Triple(mention(*head), relation, mention(*tail)) for head, relation, tail in triples),
        )

    def test_evaluate(self):
        nlp = pipeline()
        documents = [
            self.gold(ADA, (("Ada Lovelace", "person"), "born in", ("London", "location"))),  # hit
            self.gold(BOB, (("Bob Stone", "x"), "works for", ("Acme Corp", "organization")),  # hit without types
                           (("Bob Stone", "person"), "leads", ("Acme Corp", "organization"))),  # missed
            self.gold(NOBODY),
            Document("not annotated", ADA),
        ]  # fmt: skip
        scores = nlp.evaluate([Example(nlp.make_doc(d.text), to_doc(d, nlp)) for d in documents])
        # strict: 1 of 2 predicted, 1 of 3 gold; boundaries: 2 of 2, 2 of 3
        assert (scores["rel_micro_p"], scores["rel_micro_r"]) == (1 / 2, 1 / 3)
        assert scores["rel_micro_f"] == pytest.approx(0.4)
        assert (scores["rel_boundaries_p"], scores["rel_boundaries_r"]) == (1.0, 2 / 3)
        assert scores["rel_boundaries_f"] == pytest.approx(0.8)
        assert scores["rel_per_type"]["born in"] == {"p": 1.0, "r": 1.0, "f": 1.0}
        assert scores["rel_macro_f"] == pytest.approx(1 / 3)  # born in 1, works for 0, leads 0
        assert scores["rel_docs_without_gold_fp"] == 0
        assert "token_acc" in scores

    def test_rejections_and_docs_without_relations(self):
        nlp = pipeline(rows='[["Ada Lovelace","born in","London"],["Ada Lovelace","invented","London"]]')
        scores = nlp.evaluate([Example(nlp.make_doc(ADA), to_doc(self.gold(ADA), nlp))])
        assert scores["rel_docs_without_gold_fp"] == 1
        triple = (("Ada Lovelace", "person"), "born in", ("London", "location"))
        scores = nlp.evaluate([Example(nlp.make_doc(ADA), to_doc(self.gold(ADA, triple), nlp))])
        assert scores["rel_micro_f"] == 1.0
        assert scores["rel_micro_f_with_rejections"] == pytest.approx(2 / 3)  # 1 tp, 1 fp

    def test_symmetric_relations_match_in_both_directions(self):
        text = "Ann Lee is married to Bo Lee."
        nlp = pipeline(rows='[["Bo Lee","married to","Ann Lee"]]')
        gold = self.gold(text, (("Ann Lee", "person"), "married to", ("Bo Lee", "person")))
        assert nlp.evaluate([Example(nlp.make_doc(text), to_doc(gold, nlp))])["rel_micro_f"] == 1.0

    def test_no_annotated_reference(self):
        nlp = pipeline()
        scores = nlp.evaluate([Example(nlp.make_doc(ADA), nlp.make_doc(ADA))])
        assert scores["rel_micro_f"] is None

    def test_gold_in_the_predicted_doc_does_not_count(self):
        nlp = pipeline(rows="[]")
        gold = self.gold(ADA, (("Ada Lovelace", "person"), "born in", ("London", "location")))
        doc = to_doc(gold, nlp)
        assert nlp.evaluate([Example(doc, doc)])["rel_micro_r"] == 0.0

    def test_weights(self):
        assert pipeline().config["training"]["score_weights"]["rel_micro_f"] == 1.0


def test_a_real_model(tiny_decoder, task_file):
    nlp = spacy.blank("en")
    config = {"task": str(task_file), "model": str(tiny_decoder), "max_new_tokens": 60, "batch_size": 2}
    nlp.add_pipe("llm_relations", config=config)
    texts = [ADA, BOB, "Bob knows Ada and Cy.", NOBODY, "Di works for IBM."]
    extractions = [get_extraction(doc) for doc in nlp.pipe(texts)]
    for text, extraction in zip(texts, extractions, strict=True):
        assert all(text[m.start_char : m.end_char] == m.text for m in extraction.mentions)
        assert extraction.completions[0].startswith("[")
    stream = nlp.pipe(texts)
    next(stream)
    stream.close()  # the model is in the middle of the others; they must not get in the way of the next call
    assert [get_extraction(doc).completions for doc in nlp.pipe(texts)] == [one.completions for one in extractions]


def test_shipped_tasks_all_work():
    for path in shipped("prompts").glob("*.yaml"):
        assert pipeline(task=path.stem)(NOBODY)._.relations == []
