"""Fit a calibration to scored predictions for annotated documents."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from genre_x.calibration import Calibration, FittedOn, Method
from genre_x.errors import DataError, require
from genre_x.evaluation.predictions import Prediction, Run
from genre_x.evaluation.reliability import Array, Labelled, calibration_error, cumulative, labelled, reliability_bins
from genre_x.scoring import Matching

MIN_SUPPORT = 20
"""A relation gets a threshold of its own from so many gold triples on, and as many predicted ones: with fewer, the best
threshold depends on single documents."""
N_FOLDS = 5
_SMALLEST = 1e-6
"""Scores are kept so far away from 0 and 1 where logarithms are taken."""
_GRID = np.linspace(0.0, 1.0, 41)
_N_RESAMPLES = 200

Parameters = tuple[tuple[tuple[float, float], ...], float | None]


def fit(
    runs: Sequence[tuple[Run, Sequence[Prediction]]],
    *,
    method: Method = "isotonic",
    matching: Matching = "strict",
    min_support: int = MIN_SUPPORT,
    n_folds: int = N_FOLDS,
    seed: int = 0,
    versions: Mapping[str, str] | None = None,
    git_commit: str | None = None,
) -> Calibration:
    """Fit a calibration and thresholds.

    Args:
        runs: Predictions with raw scores, of one model.
        method: `isotonic` needs scikit-learn.
        matching: When a triple is right.
        min_support: See `MIN_SUPPORT`.
        n_folds: For the cross-validated error: documents are dealt into so many parts, each is scored by a fit on the others.
        seed: For dealing.
        versions: Stored with the calibration.
        git_commit: Likewise.

    Raises:
        DataError: There is nothing to fit, or the runs are of different models, or some of one answer and some of several.
    """
    models = sorted({run.model for run, _ in runs})
    if len(models) > 1:
        raise DataError(f"A calibration is for one model; these predictions are of {len(models)}: {', '.join(models)}.")
    if len({run.n_answers > 1 for run, _ in runs}) > 1:
        raise DataError("Some of these runs took one answer, some several, whose scores are not the same thing.")
    data = labelled(runs, matching=matching)
    _check(data)
    knots, temperature = _fit(method, data.scores, data.right)
    calibrated = _apply(knots, temperature, data.scores)
    threshold, thresholds = _thresholds(calibrated, data, min_support)
    return Calibration(
        method=method,
        knots=knots,
        temperature=temperature,
        threshold=threshold,
        thresholds=thresholds,
        fitted_on=tuple(one for run, predictions in runs for one in _origins(run, predictions)),
        ece={
            "raw": _ece(data.scores, data.right),
            "in_sample": _ece(calibrated, data.right),
            "cross_validated": _cross_validated(method, data, n_folds, seed),
        },
        versions=dict(versions or {}),
        git_commit=git_commit,
    )


def _check(data: Labelled) -> None:
    n, n_right = len(data.scores), int(data.right.sum())
    if data.n_unscored and not n:
        raise DataError(f"None of the {data.n_unscored} predicted triples has a score: this backend gives no probabilities.")
    if not 0 < n_right < n:
        raise DataError(f"Nothing to calibrate: {n_right} of {n} scored triples are right; there must be right and wrong ones.")


def _fit(method: Method, scores: Array, right: Array) -> Parameters:
    if method == "temperature":
        return (), fit_temperature(scores, right)
    return fit_isotonic(scores, right), None


def fit_isotonic(scores: Array, right: Array) -> tuple[tuple[float, float], ...]:
    """Knots of a rising line, at evenly spaced raw scores: the mean of isotonic regressions on resampled data.

    A single one is a staircase, on which the rounding of another processor can move a score by a whole step. The mean (bagging,
    Breiman 1996, https://doi.org/10.1007/BF00058655) has no steps.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    isotonic = require("sklearn.isotonic", extra="eval")
    rng = np.random.default_rng(0)
    mean = np.zeros_like(_GRID)
    for _ in range(_N_RESAMPLES):
        drawn = rng.integers(len(scores), size=len(scores))
        stairs = isotonic.IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores[drawn], right[drawn])
        mean += stairs.predict(_GRID) / _N_RESAMPLES
    mean = np.clip(mean, 0.0, 1.0)  # sums of fractions can end a last bit above 1
    return tuple(zip(_GRID.tolist(), mean.tolist(), strict=True))


def fit_temperature(scores: Array, right: Array) -> float:
    """The temperature under which `scores ** (1 / temperature)` gives what came out right the highest probability.

    The negative log-likelihood is convex in 1 / temperature, so a search by thirds finds its minimum; temperatures from 0.01
    to 100 are searched.
    """
    logs = np.log(np.clip(scores, _SMALLEST, 1 - _SMALLEST))

    def loss(log_power: float) -> float:
        powered = logs * math.exp(log_power)
        return float(-(right * powered + (1 - right) * np.log(-np.expm1(powered))).mean())

    return math.exp(-_minimum(loss, math.log(0.01), math.log(100)))


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with a single valley is lowest."""
    while high - low > 1e-9:
        one, two = low + (high - low) / 3, high - (high - low) / 3
        if function(one) < function(two):
            high = two
        else:
            low = one
    return (low + high) / 2


def best_threshold(scores: Array, right: Array, n_gold: int) -> float | None:
    """The score from which on keeping triples gives the best F1; of several, the lowest.

    It lies half way to the next lower score, and is 0 if all triples are kept; None if none is right.
    """
    values, n_right, n_kept = cumulative(scores, right)
    if not len(values) or not n_right[-1]:
        return None
    f1 = 2 * n_right / (n_kept + n_gold)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return 0.0 if best == len(values) - 1 else float((values[best] + values[best + 1]) / 2)


def _thresholds(scores: Array, data: Labelled, min_support: int) -> tuple[float, dict[str, float]]:
    """The threshold for all relations together, and those of relations with enough data."""
    overall = best_threshold(scores, data.right, sum(data.n_gold.values()))
    relations = np.array(data.relations)
    found = {}
    for relation, n_gold in sorted(data.n_gold.items()):
        inside = relations == relation
        if relation and n_gold >= min_support and int(inside.sum()) >= min_support:
            threshold = best_threshold(scores[inside], data.right[inside], n_gold)
            if threshold is not None:
                found[relation] = threshold
    return overall or 0.0, found


def _cross_validated(method: Method, data: Labelled, n_folds: int, seed: int) -> float | None:
    """Calibration error of scores that were calibrated by a fit on other documents; None if a part can't be fitted."""
    documents = np.unique(data.documents)
    if len(documents) < n_folds:
        return None
    fold_of = np.empty(int(documents.max()) + 1, dtype=np.int64)
    fold_of[np.random.default_rng(seed).permutation(documents)] = np.arange(len(documents)) % n_folds
    folds: NDArray[np.int64] = fold_of[data.documents]
    calibrated = np.empty_like(data.scores)
    for fold in range(n_folds):
        inside = folds == fold
        calibrated[inside] = _apply(*_fit(method, data.scores[~inside], data.right[~inside]), data.scores[inside])
    return _ece(calibrated, data.right)


def _apply(knots: tuple[tuple[float, float], ...], temperature: float | None, scores: Array) -> Array:
    if temperature is not None:
        return np.asarray(scores ** (1 / temperature), dtype=np.float64)
    raw, calibrated = zip(*knots, strict=True)
    return np.asarray(np.interp(scores, raw, calibrated), dtype=np.float64)


def _ece(scores: Array, right: Array) -> float | None:
    error = calibration_error(reliability_bins(scores, right))
    return None if error is None else round(error, 4)


def _origins(run: Run, predictions: Sequence[Prediction]) -> list[FittedOn]:
    """One entry for each data file of a run, in order."""
    counted: dict[tuple[str, str | None, str | None], list[int]] = {}
    for prediction in predictions:
        one = run.sets[prediction.set_index]
        counts = counted.setdefault((one.dataset or one.name, one.split, one.sha256), [0, 0])
        counts[0] += 1
        counts[1] += sum(triple.score is not None for triple in prediction.triples)
    return [
        FittedOn(
            dataset=dataset,
            split=split,
            sha256=sha256,
            n_documents=n_documents,
            n_triples=n_triples,
            model=run.model,
            template=run.template,
            output_format=run.output_format,
            strength=run.strength,
            n_examples=run.n_examples,
            n_answers=run.n_answers,
            entities=run.entities,
        )
        for (dataset, split, sha256), (n_documents, n_triples) in counted.items()
    ]
