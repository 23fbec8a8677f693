import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_x.document import Document, Mention, Triple
from genre_x.evaluation.predictions import Prediction, Run, SetInfo
from genre_x.evaluation.reliability import calibration_error, cumulative, curve, labelled, reliability_bins

TEXT = "Ada met Bob."
ADA, BOB = Mention(0, 3, "Ada"), Mention(8, 11, "Bob")


def run(*, symmetric=()):
    info = SetInfo(name="s", relations=("met", "saw"), symmetric=symmetric, prompt_sha256="0", n_documents=1)
    return Run(
        sets=(info,),
        relations=("met", "saw"),
        model="m",
        template="t",
        output_format="rows",
        strength="grounded",
        generation={},
        batch_size=1,
        window_tokens=1,
        versions={},
    )


def prediction(gold, pred, *, n_unanchored=0):
    return Prediction(0, Document("d", TEXT, triples=tuple(gold)), tuple(pred), n_unanchored=n_unanchored)


def error(scores, right, **options):
    return calibration_error(reliability_bins(np.array(scores, float), np.array(right, float), **options))


def test_the_error_by_hand():
    # bin (0.9, 1]: 10 scores of 0.95, 7 right: gap 0.25; bin (0.1, 0.2]: 10 of 0.15, 1 right: gap 0.05
    # 10/20 · 0.25 + 10/20 · 0.05 = 0.15
    scores, right = [0.95] * 10 + [0.15] * 10, [1] * 7 + [0] * 3 + [1] + [0] * 9
    assert error(scores, right) == pytest.approx(0.15)


def test_bins_are_weighted_by_how_many_scores_they_hold():
    # 3/4 · |1 - 0.9| + 1/4 · |0 - 0.5|
    assert error([0.9, 0.9, 0.9, 0.5], [1, 1, 1, 0]) == pytest.approx(0.2)


def test_gaps_in_one_bin_cancel_out():
    # both in (0.5, 1]: mean score 0.75, share 1/2; one bin cannot see more
    assert error([0.6, 0.9], [1, 0], n_bins=2) == pytest.approx(0.25)
    assert error([0.6, 0.9], [1, 0], n_bins=10) == pytest.approx((0.4 + 0.9) / 2)


def test_perfect_scores_have_no_error_and_no_scores_have_none():
    assert error([0.5, 0.5], [1, 0]) == 0.0
    assert error([], []) is None


@pytest.mark.parametrize("k", range(11))
def test_a_bin_holds_its_upper_edge(k):
    bins = reliability_bins(np.array([k / 10]), np.array([1.0]))
    (place,) = [place for place, one in enumerate(bins) if one.n]
    assert place == max(0, k - 1)
    assert len(bins) == 10
    assert bins[place].mean_score == k / 10


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_every_score_is_in_one_bin(pairs):
    scores, right = np.array([s for s, _ in pairs]), np.array([float(r) for _, r in pairs])
    bins = reliability_bins(scores, right)
    assert sum(one.n for one in bins) == len(pairs)
    assert all(one.n == sum(one.low < s <= one.high or s == one.low == 0 for s in scores) for one in bins)
    assert sum(one.n * one.share_right for one in bins if one.n) == pytest.approx(right.sum())


def test_the_curve_by_hand():
    # kept from 0.9: 1 of 1 right; from 0.5: 1 of 3; from 0.2: 2 of 4; three gold triples
    points = curve(np.array([0.5, 0.9, 0.5, 0.2]), np.array([0.0, 1.0, 0.0, 1.0]), 3)
    assert [point["threshold"] for point in points] == [0.9, 0.5, 0.2]
    assert [point["precision"] for point in points] == [1.0, 0.3333, 0.5]
    assert [point["recall"] for point in points] == [0.3333, 0.3333, 0.6667]
    assert [point["f1"] for point in points] == [0.5, 0.3333, 0.5714]  # 2/4, 2/6, 4/7


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    scores = np.arange(1000) / 1000
    points = curve(scores, np.ones(1000), 1000, n_points=20)
    assert len(points) == 20
    assert (points[0]["threshold"], points[-1]["threshold"]) == (0.999, 0.0)


def test_no_scores_no_curve():
    assert curve(np.array([]), np.array([]), 3) == []


def test_cumulative_counts_ties_together():
    values, n_right, n_kept = cumulative(np.array([0.5, 0.9, 0.5]), np.array([1.0, 0.0, 1.0]))
    assert (values.tolist(), n_right.tolist(), n_kept.tolist()) == ([0.9, 0.5], [0.0, 2.0], [1.0, 3.0])


def test_labels_come_from_gold():
    pred = [Triple(ADA, "met", BOB, 0.9), Triple(BOB, "met", ADA, 0.4), Triple(ADA, "saw", BOB)]
    data = labelled([(run(), [prediction([Triple(ADA, "met", BOB)], pred, n_unanchored=2)])])
    assert (data.scores.tolist(), data.right.tolist(), data.relations) == ([0.9, 0.4], [1.0, 0.0], ("met", "met"))
    assert data.n_unscored == 1
    assert data.n_gold == {"met": 1, "": 2}


def test_of_a_triple_predicted_twice_the_best_score_counts():
    pred = [Triple(ADA, "met", BOB, 0.3), Triple(BOB, "met", ADA, 0.7)]
    data = labelled([(run(symmetric=("met",)), [prediction([Triple(ADA, "met", BOB)], pred)])])
    assert (data.scores.tolist(), data.right.tolist()) == ([0.7], [1.0])


def test_documents_are_told_apart_over_runs():
    one = prediction([], [Triple(ADA, "met", BOB, 0.3)])
    data = labelled([(run(), [one, one]), (run(), [one])])
    assert data.documents.tolist() == [1, 2, 3]
