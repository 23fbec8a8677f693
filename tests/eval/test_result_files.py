"""Reading what the report is made from: result files, published systems, targets."""

import pytest

from eval.report.published import Published
from eval.report.results import load_results
from eval.report.targets import Targets, targets_table
from eval.sentences import ROOT
from genre_x.errors import DataError


def test_results_are_read_in_order(folder):
    assert list(load_results(folder))[:3] == ["quality.toy.default", "quality.toy.old", "training.a"]


def test_what_is_missing_is_none(folder):
    result = load_results(folder)["quality.toy.old"]
    assert result.get("ci", "strict.f1", 0) is None
    assert result.number("scores", "text", "f1") is None
    assert result.text("model") == "base"


def test_all_broken_files_are_named_at_once(folder):
    (folder / "quality.cut.json").write_text('{"scores": {', encoding="utf-8")
    (folder / "quality.list.json").write_text("[1]", encoding="utf-8")
    (folder / "quality.types.json").write_text(
        '{"scores": {"strict": {"f1": "high"}}, "rejections": {"truncated": -0.5}}', encoding="utf-8"
    )
    (folder / "quality.nan.json").write_text('{"scores": {"strict": {"f1": NaN}}}', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_results(folder)
    faults = caught.value.faults
    assert faults[0].startswith("quality.cut.json: not JSON: ")
    assert faults[1] == "quality.list.json: expected a JSON object, found list"
    assert faults[2].startswith("quality.nan.json: scores.strict.f1: ")
    assert faults[3].startswith("quality.types.json: scores.strict.f1: ") and faults[3].endswith("found 'high'")
    assert faults[4].startswith("quality.types.json: rejections.truncated: ")
    assert all(fault in str(caught.value) for fault in faults)


def test_a_number_that_is_none_is_named_with_its_place(folder):
    (folder / "speed.a.json").write_text('{"ratio": {"a": 1}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"speed\.a\.json: expected a number at 'ratio', found {'a': 1}"):
        load_results(folder)["speed.a"].number("ratio")


def test_the_shipped_files_are_valid():
    assert Published.load(ROOT / "eval" / "published.yaml").systems
    assert Targets.load(ROOT / "eval" / "targets.yaml").targets


def test_faults_of_the_published_systems_are_reported_at_once(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(
        "datasets: {toy: {title: Toy, language: german}}\n"
        "systems:\n  - {system: A, parameters: 1B, dataset: toy, metric: loose, score: 140, protocol: supervised, "
        "entities: given, source: a page, rank: 1}\n",
        encoding="utf-8",
    )
    with pytest.raises(DataError) as caught:
        Published.load(path)
    places = [fault.partition(":")[0] for fault in caught.value.faults]
    assert places == ["datasets.toy.language", "systems.0.metric", "systems.0.score", "systems.0.rank"]
    assert str(caught.value).startswith("published.yaml has faults:")


def test_a_system_on_unknown_data_is_a_fault(published_file):
    published_file.write_text(published_file.read_text(encoding="utf-8").replace("dataset: toy", "dataset: joy", 1))
    with pytest.raises(DataError, match="'joy' is not among the data sets: toy"):
        Published.load(published_file)


def test_why_scores_are_not_comparable(published_file):
    alike, other = Published.load(published_file).of("toy")
    ours = {"protocols": {"supervised"}, "splits": {"test"}, "entities": {"generated"}}
    assert alike.differences(**ours) == []
    assert alike.model_copy(update={"trained_on": "train+dev"}).differences(**ours) == ["trained on train+dev"]
    assert other.differences(**ours) == [
        "protocol zero-shot, ours supervised",
        "split not stated, ours test",
        "entities given, ours generated",
        "triples compared as the source does",
    ]


def test_targets_are_met_or_not_or_not_measured(folder, targets_file):
    targets = Targets.load(targets_file).targets
    assert targets_table(targets, load_results(folder)).markdown.splitlines()[2:] == [
        "| Toy F1 | ≥ 66.6 | 66.7 | **met** | because | `quality.toy.default.json` | `make toy` |",
        "| Toy alarms | ≤ 20 | 25.0 | not met | because | `quality.toy.default.json` | `make toy` |",
        "| Missing | ≥ 1 | – | not measured | because | `quality.more.json` | `make more` |",
    ]


def test_a_target_has_one_limit(targets_file):
    targets_file.write_text(targets_file.read_text(encoding="utf-8").replace("at_most: 20", "at_most: 20, at_least: 1"))
    with pytest.raises(DataError, match="give either `at_least` or `at_most`"):
        Targets.load(targets_file)
