import numpy as np
import pytest

from genre_x.evaluation.bootstrap import intervals
from genre_x.scoring import MATCHINGS, Counts, DocumentCounts, add_up


def counts(tp=0, fp=0, fn=0, *, relation="r", n_rejections=0, is_empty=False, has_predictions=True):
    one = Counts(tp, fp, fn)
    return DocumentCounts(
        matchings=dict.fromkeys(MATCHINGS, one),
        per_relation={relation: one} if tp + fp + fn else {},
        n_rejections=n_rejections,
        is_empty=is_empty,
        has_predictions=has_predictions,
    )


def test_equal_documents_have_intervals_without_width():
    # every resample has P = 2/3, R = 2/4, F1 = 4/7
    found = intervals([counts(2, 1, 2)] * 7)
    assert found["strict.precision"] == (0.6667, 0.6667)
    assert found["boundaries.recall"] == (0.5, 0.5)
    assert found["text.f1"] == (0.5714, 0.5714)
    assert found["macro.f1"] == (0.5714, 0.5714)


def test_rejections_are_false_positives_in_their_own_score():
    # P = 1 / (1 + 0 + 3)
    assert intervals([counts(1, n_rejections=3)] * 5)["strict_with_rejections.precision"] == (0.25, 0.25)


def test_the_same_seed_gives_the_same_intervals_and_another_does_not():
    documents = [counts(n % 2, n % 3, n % 5) for n in range(40)]
    assert intervals(documents, seed=3) == intervals(documents, seed=3)
    assert intervals(documents, seed=3) != intervals(documents, seed=4)


def test_intervals_agree_with_a_plain_loop():
    documents = [counts(n % 2, n % 3, n % 4, relation="ab"[n % 2], n_rejections=n % 2) for n in range(30)]
    rng = np.random.default_rng(11)
    drawn = rng.integers(0, 30, size=(200, 30))  # the same stream, one row a resample
    samples = [add_up(documents[i] for i in row) for row in drawn.tolist()]
    found = intervals(documents, n_resamples=200, level=0.9, seed=11)
    for name, values in {
        "strict.f1": [one.strict.f1 for one in samples],
        "undirected.recall": [one.undirected.recall for one in samples],
        "strict_with_rejections.f1": [one.strict_with_rejections.f1 for one in samples],
        "macro.precision": [one.macro.precision for one in samples],
        "macro.f1": [one.macro.f1 for one in samples],
    }.items():
        assert found[name] == pytest.approx(tuple(np.percentile(values, [5, 95])), abs=1e-4), name


def test_the_interval_of_a_share_has_the_width_of_the_binomial():
    # precision of 400 single predictions, half right: standard error sqrt(1/4 / 400) = 0.025, so 0.5 ± 1.96 · 0.025
    low, high = intervals([counts(tp=1), counts(fp=1)] * 200)["strict.precision"]
    assert low == pytest.approx(0.451, abs=0.01)
    assert high == pytest.approx(0.549, abs=0.01)


def test_many_documents_are_drawn_in_parts_with_the_same_result(monkeypatch):
    documents = [counts(n % 2, n % 3, n % 5) for n in range(20)]
    whole = intervals(documents, n_resamples=50)
    monkeypatch.setattr("genre_x.evaluation.bootstrap._CELLS", 60)  # three resamples at a time
    assert intervals(documents, n_resamples=50) == whole


def test_false_positive_rate_of_empty_documents():
    alarm, quiet = counts(fp=1, is_empty=True), counts(is_empty=True, has_predictions=False)
    low, high = intervals([alarm, quiet] * 100)["empty_false_positive_rate"]
    assert 0.4 < low < 0.5 < high < 0.6
    assert "empty_false_positive_rate" not in intervals([counts(1)])


def test_no_documents_no_intervals():
    assert intervals([]) == {}


def test_documents_without_gold_and_predictions():
    assert intervals([counts(is_empty=True, has_predictions=False)] * 3)["strict.f1"] == (0.0, 0.0)
