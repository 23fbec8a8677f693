"""How far scores can be trusted: calibration error, reliability bins, the curve of precision and recall.

The expected calibration error is that of Guo et al. 2017 (https://arxiv.org/abs/1706.04599): scores are put into M bins of
equal width ((m - 1) / M, m / M], 0 into the first, and with n scores, of which B_m are in bin m,

    ECE = sum over m of  B_m / n * |share of right triples in bin m - mean score in bin m|
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre_x.evaluation.predictions import Prediction, Run
from genre_x.scoring import Matching, triple_key

N_BINS = 10

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Scores in (low, high].

    Attributes:
        mean_score: None if there are no scores in it.
        share_right: Likewise.
    """

    low: float
    high: float
    n: int
    mean_score: float | None
    share_right: float | None


@dataclass(frozen=True)
class Labelled:
    """The scored triples of some predictions, and whether each is right.

    Attributes:
        scores: Raw ones. *Shape:* (n_triples,)
        right: 1 for a triple that is gold, else 0. *Shape:* (n_triples,)
        relations: Of each triple.
        documents: Number of the document of each triple, counted over all predictions. *Shape:* (n_triples,)
        n_unscored: Predicted triples without a score; they are not among the above.
        n_gold: Gold triples, by relation; those that no span stands for under the name "".
    """

    scores: Array
    right: Array
    relations: tuple[str, ...]
    documents: NDArray[np.int64]
    n_unscored: int
    n_gold: dict[str, int]


def labelled(runs: Iterable[tuple[Run, Iterable[Prediction]]], *, matching: Matching = "strict") -> Labelled:
    """Compare scored triples with gold; of a triple that was predicted twice in a document the best score counts."""
    scores: list[float] = []
    right: list[bool] = []
    relations: list[str] = []
    documents: list[int] = []
    n_gold: dict[str, int] = {}
    n_unscored = n_documents = 0
    for run, predictions in runs:
        for prediction in predictions:
            n_documents += 1
            symmetric = frozenset(run.sets[prediction.set_index].symmetric)
            gold = {triple_key(triple, matching, symmetric) for triple in prediction.document.triples or ()}
            for relation in (*(key[0] for key in gold), *("" for _ in range(prediction.n_unanchored))):
                n_gold[relation] = n_gold.get(relation, 0) + 1
            best: dict[tuple[Any, ...], float] = {}
            for triple in prediction.triples:
                if triple.score is None:
                    n_unscored += 1
                    continue
                key = triple_key(triple, matching, symmetric)
                best[key] = max(best.get(key, 0.0), triple.score)
            scores += best.values()
            right += [key in gold for key in best]
            relations += [key[0] for key in best]
            documents += [n_documents] * len(best)
    return Labelled(
        np.array(scores, dtype=np.float64),
        np.array(right, dtype=np.float64),
        tuple(relations),
        np.array(documents, dtype=np.int64),
        n_unscored,
        n_gold,
    )


def reliability_bins(scores: Array, right: Array, *, n_bins: int = N_BINS) -> list[Bin]:
    """Mean score and share of right triples in bins of equal width.

    >>> [one.n for one in reliability_bins(np.array([0.0, 0.5, 0.51, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]), n_bins=2)]
    [2, 2]
    """
    edges = np.arange(n_bins + 1) / n_bins
    places = np.clip(np.searchsorted(edges, scores, side="left") - 1, 0, n_bins - 1)
    bins = []
    for place in range(n_bins):
        inside = places == place
        n = int(inside.sum())
        means = (float(scores[inside].mean()), float(right[inside].mean())) if n else (None, None)
        bins.append(Bin(float(edges[place]), float(edges[place + 1]), n, *means))
    return bins


def calibration_error(bins: Iterable[Bin]) -> float | None:
    """Expected calibration error in [0, 1]; None if there are no scores."""
    every = [(one.n, one.mean_score, one.share_right) for one in bins]
    total = sum(n for n, _, _ in every)
    if not total:
        return None
    return sum(n * abs(share - mean) for n, mean, share in every if mean is not None and share is not None) / total


def curve(scores: Array, right: Array, n_gold: int, *, n_points: int = 100) -> list[dict[str, float]]:
    """Precision, recall and F1 when only triples with at least a certain score are kept.

    Args:
        scores: *Shape:* (n_triples,)
        right: *Shape:* (n_triples,)
        n_gold: How many gold triples there are.
        n_points: At most so many points, spread evenly over the triples; the highest and the lowest score are among them.

    Returns:
        From the highest threshold to the lowest.
    """
    thresholds, n_right, n_kept = cumulative(scores, right)
    if not len(thresholds):
        return []
    wanted = np.linspace(n_kept[0], n_kept[-1], min(n_points, len(thresholds)))
    points = sorted(set(np.searchsorted(n_kept, wanted, side="left").tolist()))
    return [
        {
            "threshold": round(float(thresholds[i]), 6),
            "precision": round(float(n_right[i] / n_kept[i]), 4),
            "recall": round(float(n_right[i] / n_gold), 4) if n_gold else 0.0,
            "f1": round(float(2 * n_right[i] / (n_kept[i] + n_gold)), 4),
        }
        for i in points
    ]


def cumulative(scores: Array, right: Array) -> tuple[Array, Array, Array]:
    """The distinct scores, falling; and how many triples with at least that score are right, and how many there are."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(falling) else np.array([], dtype=np.int64)
    return falling[last], np.cumsum(right[order])[last], (last + 1).astype(np.float64)


def bins_to_dicts(bins: Iterable[Bin]) -> list[dict[str, Any]]:
    """For a JSON file."""
    return [
        {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(one).items()} for one in bins
    ]
