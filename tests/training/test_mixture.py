import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from genre_x.errors import DataError, UnknownNameError
from genre_x.training.config import Mixture, SourceConfig, TrainingConfig
from genre_x.training.mixture import (
    LoadedSource,
    build_episodes,
    build_reports,
    describe,
    load_mixture,
    load_sets,
    stated,
    without,
)

TASK = """
name: small
instruction: Extract.
language: en
relation_types:
  - {name: knows, aliases: [K]}
  - {name: likes, inverse: liked by}
  - {name: liked by, inverse: likes}
  - {name: hates}
examples: []
"""
PEOPLE = ["Ada", "Bob", "Cy", "Di", "Ed"]


@pytest.fixture
def folder(tmp_path):
    """A task, two files of sentences, and a data set in the common form with two languages."""
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    for name, verbs in (("a", ("knows", "likes")), ("b", ("likes",))):
        lines = [
            json.dumps({"text": f"{head} {verb} {tail}.", "triples": [[head, verb, tail]]})
            for head in PEOPLE
            for tail in PEOPLE
            for verb in verbs
            if head != tail
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = tmp_path / "data"
    data.mkdir()
    schema = {"relation_labels": {"knows": {}, "likes": {}}}
    (data / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    records = []
    for number in range(20):
        text = f"P{number} knows Q{number}."
        end = len(f"P{number}")
        entities = [{"start": 0, "end": end, "label": None}, {"start": end + 7, "end": 2 * end + 7, "label": None}]
        lang = "de" if number % 4 else "en"
        relations = [{"label": "knows", "head": 0, "tail": 1}]
        records.append(
            json.dumps({"id": str(number), "text": text, "entities": entities, "relations": relations, "lang": lang})
        )
    (data / "train.jsonl").write_text("\n".join(records), encoding="utf-8")
    (data / "bad.jsonl").write_text("\n".join([*records, "{}", "oops"]), encoding="utf-8")
    return tmp_path


def sentences(folder, name="a", **more):
    return {"sentences": folder / f"{name}.jsonl", "task": str(folder / "task.yaml"), **more}


def load(*sources, seed=0, **more):
    return load_mixture(Mixture(sources=sources, **more), seed)


def names(source):
    return [relation.name for one in source.sets for relation in one.schema.relation_types]


class TestSources:
    def test_relation_types_that_no_document_states_are_not_shown(self, folder):
        assert names(load(sentences(folder))[0]) == ["knows", "likes"]
        assert load(sentences(folder))[0].sets[0].schema.relation_type("likes").inverse is None

    @pytest.mark.parametrize("forbidden", ["likes", "knows", "K"])
    def test_left_out_types_are_gone_from_schema_and_documents(self, folder, forbidden):
        (one,) = load(sentences(folder), leave_out=[forbidden])[0].sets
        (kept,) = {"knows", "likes"} - {{"K": "knows"}.get(forbidden, forbidden)}
        assert {triple.relation for document in one.documents for triple in document.triples} == {kept}
        assert [relation.name for relation in one.schema.relation_types] == [kept]
        assert len(one.documents) == 20

    def test_a_source_leaves_out_types_of_its_own(self, folder):
        first, second = load(sentences(folder, leave_out=["likes"]), sentences(folder))
        assert (names(first), names(second)) == (["knows"], ["knows", "likes"])

    def test_nothing_left_is_an_error(self, folder):
        with pytest.raises(DataError, match=r"a\.jsonl: no document is left without hates, knows, likes\."):
            load(sentences(folder, leave_out=["knows", "likes"]), leave_out=["hates"])

    def test_languages(self, folder):
        source = {"dataset": folder / "data", "split": "train"}
        (one,) = load({**source, "languages": ["en"]})[0].sets
        assert {document.language for document in one.documents} == {"en"}
        assert len(one.documents) == 5
        with pytest.raises(DataError, match="no document is left in fr"):
            load({**source, "languages": ["fr"]})

    def test_parts_divide_a_file_by_its_texts(self, folder):
        first, second, whole = (
            {document.text for document in load(sentences(folder, **part))[0].sets[0].documents}
            for part in ({"part": [0, 0.6]}, {"part": [0.6, 1]}, {})
        )
        assert first and second
        assert not first & second
        assert first | second == whole
        with pytest.raises(DataError, match=r"no document is left in the part \[0\.0, 1e-09\]"):
            load(sentences(folder, part=[0, 1e-9]))
        with pytest.raises(ValidationError, match=r"`part` rises, within 0 and 1; found \[0\.6, 0\.2\]"):
            SourceConfig.model_validate(sentences(folder, part=[0.6, 0.2]))

    def test_the_most_documents_are_drawn_by_the_seed(self, folder):
        found = [load(sentences(folder, max_documents=7), seed=seed)[0].sets[0].documents for seed in (0, 0, 1)]
        assert [len(documents) for documents in found] == [7, 7, 7]
        assert found[0] == found[1] != found[2]

    def test_any_format_by_its_name(self, folder):
        (guessed,) = load({"path": folder / "data", "split": "train"})
        (named,) = load({"path": folder / "data", "split": "train", "format": "common"})
        (dataset,) = load({"dataset": folder / "data", "split": "train"})
        assert guessed.sets == named.sets == dataset.sets
        with pytest.raises(UnknownNameError, match="Did you mean 'common'"):
            load({"path": folder / "data", "split": "train", "format": "comon"})

    def test_bad_records_stop_a_run_or_are_counted(self, folder):
        for kind in ("path", "dataset"):
            source = {kind: folder / "data", "split": "bad"}
            with pytest.raises(DataError, match="2 of 22 records are bad"):
                load(source)
            (one,) = load({**source, "skip_bad": True})[0].sets
            assert (len(one.documents), one.n_bad) == (20, 2)
        with (folder / "a.jsonl").open("a", encoding="utf-8") as file:
            file.write('\n{"text": "Ada left.", "triples": [["Bob", "knows", "Ada"]]}\n')
        assert load(sentences(folder, skip_bad=True))[0].sets[0].n_bad == 1

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ({"task": "general"}, "name either `dataset` or `sentences`"),
            ({"path": "x", "dataset": "y", "split": "train"}, "name either `dataset` or `sentences`"),
            ({"dataset": "x"}, "`dataset` needs a `split`"),
            ({"sentences": "x"}, "`sentences` needs the `task`"),
            ({"sentences": "x", "task": "general", "format": "csv"}, "`format` belongs to `path`"),
        ],
    )
    def test_faults_of_a_source(self, source, message):
        with pytest.raises(ValidationError, match=message):
            Mixture(sources=[source])

    def test_sets_by_themselves(self, typed_set):
        shown = stated(replace(typed_set, documents=typed_set.documents[:1]))
        assert [relation.name for relation in shown.schema.relation_types] == ["born in", "works for"]
        assert without(typed_set, {"nothing"}) is typed_set
        assert without(typed_set, {relation.name for relation in typed_set.schema.relation_types}) is None
        kept = without(typed_set, {"works for"})
        assert kept.schema.relation_type("employs").inverse is None


class TestShares:
    def test_tokens_are_shared_out(self, folder, make_builder):
        sources = load(sentences(folder, "a", share=3), sentences(folder, "b", share=1))
        reports = build_reports(sources, make_builder(), random.Random(0), tokens=60_000)
        assert [report.name for report in reports] == ["a", "b"]
        assert [report.n_tokens for report in reports] == [pytest.approx(45_000, rel=0.05), pytest.approx(15_000, rel=0.12)]

    def test_without_tokens_each_document_is_used_as_often_as_asked(self, folder, make_builder):
        builder = make_builder(sample_schema=False)
        episodes = build_episodes(load(sentences(folder, "a"), sentences(folder, "b", repeat=3)), builder, random.Random(0))
        described = {row["source"]: row for row in describe(episodes)}
        assert {name: row["documents"] for name, row in described.items()} == {"a": 40, "b": 60}
        assert sum(row["tokens"] for row in described.values()) == sum(episode.n_tokens for episode in episodes)
        assert len({episode.source for episode in episodes[:8]}) == 2  # in random order

    def test_the_seed_decides(self, folder, make_builder):
        sources, builder = load(sentences(folder)), make_builder(rename_rate=0.5)
        one, same, other = (build_episodes(sources, builder, random.Random(seed), tokens=9000) for seed in (0, 0, 1))
        assert one == same != other

    def test_every_document_is_accounted_for(self, folder, make_builder):
        (report,) = build_reports(load(sentences(folder)), make_builder(max_documents=2), random.Random(0), tokens=2000)
        assert report.tally.n_documents == 40
        assert 0 < report.tally.n_used < 40
        assert report.tally.n_used + report.tally.n_unread + sum(report.tally.left_out.values()) == 40

    def test_a_source_that_never_fits_is_an_error(self, folder, make_builder):
        with pytest.raises(DataError, match=r"No document of .*a\.jsonl fits into 64 tokens\. Left out: 40 too long"):
            build_episodes(load(sentences(folder)), make_builder(max_tokens=64), random.Random(0))


class TestReplay:
    def mixture(self, folder, **more):
        old = {
            "sources": [sentences(folder, "b", share=2), sentences(folder, "a")],
            "leave_out": ["hates"],
        }
        return Mixture(sources=[sentences(folder, "a", repeat=20)], replay={"mixture": old, "share": 0.25}, **more)

    def test_old_data_get_their_share_of_the_tokens(self, folder, make_builder):
        sources = load_mixture(self.mixture(folder), 0)
        assert [(round(one.weight, 4), one.is_replayed) for one in sources] == [
            (0.75, False),
            (round(0.25 * 2 / 3, 4), True),
            (round(0.25 / 3, 4), True),
        ]
        for tokens in (80_000, None):
            reports = build_reports(sources, make_builder(), random.Random(0), tokens=tokens)
            old = sum(report.n_tokens for report in reports if report.is_replayed)
            assert old / sum(report.n_tokens for report in reports) == pytest.approx(0.25, abs=0.06)

    def test_what_the_new_mixture_leaves_out_is_not_replayed(self, folder):
        for source in load_mixture(self.mixture(folder, leave_out=["K"]), 0):
            assert names(source) == ["likes"]

    def test_the_old_mixture_can_be_a_file_but_replays_nothing_itself(self, folder):
        path = folder / "old.yaml"
        source = f"{{sentences: {folder}/b.jsonl, task: {folder}/task.yaml}}"
        path.write_text(f"sources: [{source}]", encoding="utf-8")
        mixture = Mixture(sources=[sentences(folder)], replay={"mixture": str(path)})
        assert mixture.replay.share == 0.2
        assert len(load_sets(mixture, 0)) == 2
        path.write_text(f"sources: [{source}]\nreplay: {{mixture: {path}}}", encoding="utf-8")
        with pytest.raises(ValidationError, match="can't replay another one"):
            Mixture(sources=[sentences(folder)], replay={"mixture": str(path)})


class TestAugmentation:
    def test_a_source_takes_the_mixtures_unless_it_has_its_own(self, folder):
        first, second = load(sentences(folder), sentences(folder, "b", augmentation={}), augmentation={"entity_rate": 0.5})
        assert (first.augmentation.entity_rate, second.augmentation.entity_rate) == (0.5, 0)

    def test_episodes_have_other_names(self, folder, make_builder):
        source = load(sentences(folder, "b"), augmentation={"entity_rate": 1.0})
        texts = {
            message.content
            for episode in build_episodes(source, make_builder(), random.Random(0))
            for message in episode.messages
            if message.role == "user"
        }
        known = {document.text for document in source[0].sets[0].documents}
        assert texts <= known  # the same five names
        assert all(" likes " in text for text in texts)

    def test_back_translation_is_done_once_and_counted(self, folder, make_builder, monkeypatch):
        calls = []

        def translate(texts):
            calls.append(len(texts))
            return [f"Truly, {text}" if place % 2 else "" for place, text in enumerate(texts)]

        monkeypatch.setattr("genre_x.training.back_translation.find_function", lambda dotted: translate)
        augmentation = {"back_translation": "some:function", "back_translation_rate": 0.5}
        (source,) = load(sentences(folder, "b"), augmentation=augmentation)
        assert (calls, source.n_untranslated) == ([10], 5)
        assert sum(document.text.startswith("Truly, ") for document in source.sets[0].documents) == 5
        (report,) = build_reports([source], make_builder(), random.Random(0))
        assert report.n_untranslated == 5


def test_the_mixture_in_the_readme_is_valid(monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    (text,) = re.findall(r"```yml\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    mixture = Mixture.model_validate(yaml.safe_load(text))
    assert mixture.replay.mixture.sources
    assert mixture.augmentation.synonyms.is_file()


def test_a_mixture_is_a_file_a_list_or_written_out(folder):
    path = folder / "m.yaml"
    source = {"sentences": str(folder / "a.jsonl"), "task": str(folder / "task.yaml")}
    path.write_text(json.dumps({"sources": [source], "tokens": 5}), encoding="utf-8")
    config = TrainingConfig.model_validate({"output_dir": "x", "train": str(path), "dev": [source]})
    assert (config.train.tokens, config.dev.tokens) == (5, None)
    assert config.train.sources == config.dev.sources
    assert isinstance(load_mixture(config.dev, 0)[0], LoadedSource)
