"""Confidence intervals of scores by the percentile bootstrap over documents (Efron 1979)."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from genre_x.scoring import MATCHINGS, DocumentCounts

N_RESAMPLES = 1000
LEVEL = 0.95
_CELLS = 4_000_000
"""Size of the largest array of weights that is made at once."""

Interval = tuple[float, float]
Array = NDArray[np.float64]


def intervals(
    documents: Sequence[DocumentCounts], *, n_resamples: int = N_RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[str, Interval]:
    """Percentile intervals of every score.

    The documents are drawn with replacement, as many as there are, `n_resamples` times; each time all counts are added up and
    the scores computed anew. An interval holds the middle `level` of them.

    Args:
        documents: Counts of each.
        n_resamples: How often to draw.
        level: In (0, 1).
        seed: For drawing.

    Returns:
        By name: `<matching>.precision`, `.recall` and `.f1`, the same for `strict_with_rejections` and `macro`, and
        `empty_false_positive_rate` if there are documents without gold. Empty if there are no documents.
    """
    if not documents:
        return {}
    relations = sorted({relation for one in documents for relation in one.per_relation})
    table = _table(documents, relations)
    drawn: dict[str, list[Array]] = {}
    for sums in _resampled_sums(table, n_resamples, seed):
        for name, values in _scores(sums, len(relations)).items():
            drawn.setdefault(name, []).append(values)
    tails = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
    found = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        values = values[~np.isnan(values)]  # a resample without any document that the score is about
        if values.size:
            low, high = np.percentile(values, tails)
            found[name] = (round(float(low), 4), round(float(high), 4))
    return found


def _table(documents: Sequence[DocumentCounts], relations: Sequence[str]) -> Array:
    """One row a document: tp, fp, fn of each matching; rejections, empty, empty with predictions; tp, fp, fn by relation.

    *Shape:* (n_documents, 3 * n_matchings + 3 + 3 * n_relations)
    """
    first_of = {relation: 3 * len(MATCHINGS) + 3 + 3 * position for position, relation in enumerate(relations)}
    table = np.zeros((len(documents), 3 * len(MATCHINGS) + 3 + 3 * len(relations)))
    for row, one in zip(table, documents, strict=True):
        for position, matching in enumerate(MATCHINGS):
            counts = one.matchings[matching]
            row[3 * position : 3 * position + 3] = counts.tp, counts.fp, counts.fn
        start = 3 * len(MATCHINGS)
        row[start : start + 3] = one.n_rejections, one.is_empty, one.is_empty and one.has_predictions
        for relation, counts in one.per_relation.items():
            row[first_of[relation] : first_of[relation] + 3] = counts.tp, counts.fp, counts.fn
    return table


def _resampled_sums(table: Array, n_resamples: int, seed: int) -> Iterator[Array]:
    """Sums of the rows of resamples, a few resamples at a time.

    *Shape:* (n_resamples_of_this_part, n_columns)
    """
    rng = np.random.default_rng(seed)
    n = len(table)
    part = max(1, _CELLS // n)
    for first in range(0, n_resamples, part):
        size = min(part, n_resamples - first)
        drawn = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        yield weights @ table


def _scores(sums: Array, n_relations: int) -> dict[str, Array]:
    """Scores of each resample, by name; NaN where one is not defined."""
    found: dict[str, Array] = {}
    for position, matching in enumerate(MATCHINGS):
        tp, fp, fn = sums[:, 3 * position : 3 * position + 3].T
        found |= _named(matching, *_prf(tp, fp, fn))
    start = 3 * len(MATCHINGS)
    rejections, empty, alarms = sums[:, start : start + 3].T
    tp, fp, fn = sums[:, :3].T
    found |= _named("strict_with_rejections", *_prf(tp, fp + rejections, fn))
    by_relation = sums[:, start + 3 :].reshape(len(sums), n_relations, 3)
    tp, fp, fn = (by_relation[:, :, column] for column in range(3))
    known = tp + fn > 0
    n_known = known.sum(axis=1)
    means = [_ratio((values * known).sum(axis=1), n_known) for values in _prf(tp, fp, fn)]
    found |= _named("macro", *means)
    found["empty_false_positive_rate"] = np.divide(alarms, empty, out=np.full_like(alarms, np.nan), where=empty > 0)
    return found


def _named(name: str, precision: Array, recall: Array, f1: Array) -> dict[str, Array]:
    return {f"{name}.precision": precision, f"{name}.recall": recall, f"{name}.f1": f1}


def _prf(tp: Array, fp: Array, fn: Array) -> tuple[Array, Array, Array]:
    return _ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn)


def _ratio(part: Array, whole: Array) -> Array:
    """`part / whole`, and 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
