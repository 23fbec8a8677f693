"""Small made-up result files, in the shape that the commands write today, and in an older one."""

import json

import pytest

STRICT = {"precision": 0.75, "recall": 0.6, "f1": 0.6667, "tp": 3, "fp": 1, "fn": 2}
BOUNDARIES = {"precision": 1.0, "recall": 0.8, "f1": 0.8889, "tp": 4, "fp": 0, "fn": 1}
ZERO = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "tp": 0, "fp": 0, "fn": 5}
VERSIONS = {"genre-x": "0.1.0", "torch": "2.13.0+cpu"}


def bins(right):
    empty = {"low": 0.0, "high": 0.5, "n": 0, "mean_score": None, "share_right": None}
    return [empty, {"low": 0.5, "high": 1.0, "n": 4, "mean_score": 0.91, "share_right": right}]


def full():
    """As `genre_x.evaluation.assessment.assess` gives it."""
    return {
        "dataset": "toy",
        "split": "test",
        "task": None,
        "scores": {
            "strict": STRICT,
            "boundaries": BOUNDARIES,
            "text": BOUNDARIES,
            "undirected": BOUNDARIES,
            "strict_with_rejections": {**STRICT, "precision": 0.5, "f1": 0.5455, "fp": 3},
            "macro": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n_relations": 2, "over": "relations with gold triples"},
            "per_relation": {"met | saw": STRICT, "<born> in": {**ZERO, "fn": 4}, "knows": ZERO},
            "n_documents": 7,
            "n_empty": 4,
            "n_empty_with_predictions": 1,
            "empty_false_positive_rate": 0.25,
        },
        "ci": {"level": 0.95, "strict.f1": [0.5, 0.8123], "empty_false_positive_rate": [0.0, 0.75]},
        "errors": {
            "false_positives": {
                "wrong_type": 1,
                "flipped": 0,
                "wrong_relation": 0,
                "wrong_span": 0,
                "spurious": 0,
                "invented": 0,
            },
            "false_negatives": {"wrong_type": 1, "flipped": 0, "wrong_relation": 0, "wrong_span": 0, "missed": 1},
            "invented_and_rejected": 0,
        },
        "rejections": {"truncated": 2},
        "sets": [{"name": "toy", "dataset": "toy", "split": "test", "sha256": "0", "n_documents": 7, "scores": {}}],
        "calibration": {
            "n_triples": 4,
            "n_right": 3,
            "n_unscored": 0,
            "ece_raw": 0.2468,
            "ece_calibrated": 0.0123,
            "in_sample": True,
            "mismatches": [],
            "method": "isotonic",
            "fitted_on": [{"dataset": "toy", "split": "dev"}],
            "bins": bins(0.75),
            "bins_calibrated": bins(0.9),
            "curve": [
                {"threshold": 0.95, "precision": 1.0, "recall": 0.4, "f1": 0.5714},
                {"threshold": 0.85, "precision": 0.75, "recall": 0.6, "f1": 0.6667},
            ],
        },
        "min_score": 0.0,
        "protocol": "supervised",
        "entities": "generated",
        "relations": ["<born> in", "knows", "met | saw"],
        "model": "default.3",
        "template": "re.v1@0a1b2c3d",
        "output_format": "rows",
        "n_examples": 0,
        "given_entities": False,
        "seed": 5,
        "limit": None,
        "n_documents": 7,
        "seconds": 1.5,
        "versions": VERSIONS,
        "git_commit": "abcdef1",
    }


def old():
    """Without the keys that came later."""
    scores = {"strict": ZERO, "per_relation": {}, "n_documents": 7}
    return {
        "dataset": "toy",
        "split": "test",
        "scores": scores,
        "rejections": {},
        "model": "base",
        "template": "re.v1@0a1b2c3d",
    }


def training():
    return {
        "config": {"model": "base", "output_dir": "runs/a", "output_format": "rows", "optimizer": {"epochs": 2.0}, "seed": 13},
        "template": "re.v1@0a1b2c3d",
        "model": "base",
        "before": {"strict": ZERO},
        "after": {"strict": STRICT},
        "old": {"before": {"strict": STRICT}, "after": {"strict": {**STRICT, "f1": 0.6}}},
        "n_train_documents": 90,
        "n_train_tokens_per_epoch": 1234,
        "log": [
            {"step": 10, "loss": 0.5, "tokens_per_s": 101.4},
            {"step": 20, "loss": 0.25, "tokens_per_s": 103.0},
            {"step": 20, "eval_loss": 0.3, "eval_f1": 0.4},
        ],
        "duration_s": 120.0,
        "versions": VERSIONS,
        "git_commit": "abcdef1",
    }


def tried(**changes):
    """As `python -m eval.experiments` writes it."""
    config = {"model": "base", "output_dir": "runs/trial/a", "train": {"sources": [{"repeat": 1}]}, "optimizer": {"epochs": 1}}
    return {**full(), "split": "dev", "minutes": 6.5, "n_train_tokens": 90000, "training": {**config, **changes}}


def results():
    return {
        "quality.toy.default": full(),
        "quality.toy.old": old(),
        "training.a": training(),
        "tried.epochs": tried(optimizer={"epochs": 3}, output_dir="runs/trial/b"),
        "tried.mixture": tried(train={"sources": [{"repeat": 1}, {"repeat": 2}]}),
        "tried.reference": tried(),
        "unheard-of": {"kind": "other"},
    }


def write_results(folder):
    for name, result in results().items():
        (folder / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    """A folder with made-up result files."""
    return write_results(tmp_path)


@pytest.fixture(scope="session")
def lasting_folder(tmp_path_factory):
    """The same, for tests that change nothing in it."""
    return write_results(tmp_path_factory.mktemp("results"))


PUBLISHED = """
datasets:
  toy: {title: Toy, language: de, note: A note on Toy.}
systems:
  - {system: Alike, parameters: 110M, dataset: toy, split: test, metric: strict, score: 66.0, protocol: supervised,
     entities: generated, source: "alike/alike: README"}
  - {system: Other, parameters: 7B, dataset: toy, metric: triplets, score: 70.25, protocol: zero-shot, m: 9,
     trained_on: other data, entities: given, source: a page}
"""

TARGETS = """
targets:
  - {what: Toy F1, why: because, command: make toy, result: quality.toy.default, value: [scores, strict, f1], at_least: 66.6}
  - {what: Toy alarms, why: because, command: make toy, result: quality.toy.default, at_most: 20,
     value: [scores, empty_false_positive_rate]}
  - {what: Missing, why: because, command: make more, result: quality.more, value: [ratio], unit: number, at_least: 1}
"""


@pytest.fixture
def published_file(tmp_path_factory):
    return _written(tmp_path_factory, "published.yaml", PUBLISHED)


@pytest.fixture
def targets_file(tmp_path_factory):
    return _written(tmp_path_factory, "targets.yaml", TARGETS)


@pytest.fixture(scope="session")
def lasting_files(tmp_path_factory):
    """Both, for tests that change nothing in them."""
    return _written(tmp_path_factory, "published.yaml", PUBLISHED), _written(tmp_path_factory, "targets.yaml", TARGETS)


def _written(tmp_path_factory, name, text):
    path = tmp_path_factory.mktemp("yaml") / name
    path.write_text(text, encoding="utf-8")
    return path
