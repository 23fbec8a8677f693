"""From predictions to a result: scores with intervals, kinds of errors, rejections, calibration."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from genre_x.calibration import AUTO, MISMATCH, Calibration, MinScore, check_min_score, select
from genre_x.document import Reason
from genre_x.evaluation.bootstrap import LEVEL, N_RESAMPLES, intervals
from genre_x.evaluation.diagnosis import Fault, diagnose, tally
from genre_x.evaluation.predictions import Prediction, Run
from genre_x.evaluation.reliability import (
    Labelled,
    bins_to_dicts,
    calibration_error,
    curve,
    labelled,
    reliability_bins,
)
from genre_x.scoring import DocumentCounts, add_up, count

logger = logging.getLogger(__name__)


def assess(
    run: Run,
    predictions: Sequence[Prediction],
    *,
    calibration: Calibration | None = None,
    min_score: MinScore = 0.0,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, Any]:
    """Compute a result from predictions.

    Args:
        run: What they depend on.
        predictions: With raw scores.
        calibration: Applied to the scores before `min_score` is; None leaves them raw.
        min_score: Triples with a lower score are left out; `auto` takes the calibration's thresholds.
        n_resamples: For the confidence intervals.

    Returns:
        A JSON-able result.

    Raises:
        SchemaError: `min_score` is `auto` without a calibration.
    """
    check_min_score(min_score, calibration=calibration, model=run.model)
    counts: list[DocumentCounts] = []
    faults: list[Fault] = []
    for prediction in predictions:
        symmetric = frozenset(run.sets[prediction.set_index].symmetric)
        kept = select(prediction.triples, calibration=calibration, min_score=min_score)
        counts.append(
            count(
                prediction.document,
                kept,
                symmetric,
                n_rejections=len(prediction.rejections),
                n_unanchored=prediction.n_unanchored,
            )
        )
        faults += diagnose(prediction.document, kept, symmetric)
    rejections = Counter(rejection.reason.value for prediction in predictions for rejection in prediction.rejections)
    n_unanchored = sum(prediction.n_unanchored for prediction in predictions)
    return {
        **_origin(run),
        "languages": _languages(predictions),
        "scores": add_up(counts).to_dict(),
        "ci": {
            "level": LEVEL,
            "n_resamples": n_resamples,
            "over": "documents",
            "seed": run.seed,
            **intervals(counts, n_resamples=n_resamples, seed=run.seed),
        },
        "errors": {
            **tally(faults, n_unanchored=n_unanchored),
            "invented_and_rejected": rejections[Reason.UNGROUNDED.value],
        },
        "rejections": dict(rejections),
        "sets": _per_set(run, predictions, counts),
        "calibration": _calibration(run, labelled([(run, predictions)]), calibration),
        "min_score": min_score,
        "thresholds": _thresholds(run, calibration) if min_score == AUTO else None,
        **_settings(run),
        "n_documents": len(predictions),
        "seconds": round(sum(prediction.seconds for prediction in predictions), 1),
        "versions": run.versions,
        "git_commit": run.git_commit,
    }


def _origin(run: Run) -> dict[str, Any]:
    """Which data; left out where the caller did not say."""
    datasets = list(dict.fromkeys(one.dataset for one in run.sets if one.dataset is not None))
    splits = list(dict.fromkeys(one.split for one in run.sets if one.split is not None))
    if not datasets:
        return {}
    return {"dataset": ", ".join(datasets), "split": ", ".join(splits) or None, "task": run.task}


def _settings(run: Run) -> dict[str, Any]:
    return {
        "protocol": run.protocol,
        "entities": run.entities,
        "relations": list(run.relations),
        "shots": None if run.shots is None else run.shots.model_dump(mode="json"),
        "model": run.model,
        "template": run.template,
        "output_format": run.output_format,
        "schemas": [one.name for one in run.sets],
        "n_examples": run.n_examples,
        "n_answers": run.n_answers,
        "strength": run.strength,
        "given_entities": run.entities != "generated",
        "generation": run.generation,
        "seed": run.seed,
        "batch_size": run.batch_size,
        "window_tokens": run.window_tokens,
        "limit": run.limit,
        "sample": run.sample,
    }


def _languages(predictions: Iterable[Prediction]) -> list[str]:
    """The languages of the documents that state one."""
    return sorted({prediction.document.language for prediction in predictions if prediction.document.language})


def _per_set(run: Run, predictions: Sequence[Prediction], counts: Sequence[DocumentCounts]) -> list[dict[str, Any]]:
    """Where the documents come from, and the scores of each set on its own."""
    found = []
    for index, one in enumerate(run.sets):
        scores = add_up(
            each for each, prediction in zip(counts, predictions, strict=True) if prediction.set_index == index
        ).to_dict()
        scores.pop("per_relation")
        found.append(
            {
                "name": one.name,
                "dataset": one.dataset,
                "split": one.split,
                "sha256": one.sha256,
                "languages": _languages(prediction for prediction in predictions if prediction.set_index == index),
                "n_documents": scores["n_documents"],
                "scores": scores,
            }
        )
    return found


def _calibration(run: Run, data: Labelled, calibration: Calibration | None) -> dict[str, Any]:
    """How far the scores of all predicted triples can be trusted, before `min_score` leaves some out."""
    raw_bins = reliability_bins(data.scores, data.right)
    effective, calibrated_bins = data.scores, None
    if calibration is not None:
        effective = np.array([calibration.apply(score) for score in data.scores.tolist()], dtype=np.float64)
        calibrated_bins = reliability_bins(effective, data.right)
    return {
        "n_triples": len(data.scores),
        "n_right": int(data.right.sum()),
        "n_unscored": data.n_unscored,
        "ece_raw": _rounded(calibration_error(raw_bins)),
        "ece_calibrated": None if calibrated_bins is None else _rounded(calibration_error(calibrated_bins)),
        "in_sample": None if calibration is None else is_in_sample(run, calibration),
        "mismatches": None if calibration is None else _mismatches(run, calibration),
        "method": None if calibration is None else calibration.method,
        "fitted_on": None if calibration is None else [one.model_dump(mode="json") for one in calibration.fitted_on],
        "bins": bins_to_dicts(raw_bins),
        "bins_calibrated": None if calibrated_bins is None else bins_to_dicts(calibrated_bins),
        "curve": curve(effective, data.right, sum(data.n_gold.values())),
    }


def _mismatches(run: Run, calibration: Calibration) -> list[str]:
    """In what the run differs from those of the fit; said in the log, too."""
    found = calibration.mismatches(
        model=run.model,
        template=run.template,
        output_format=run.output_format,
        strength=run.strength,
        n_examples=run.n_examples,
        n_answers=run.n_answers,
    )
    if found:
        logger.warning(MISMATCH, "; ".join(found))
    return found


def is_in_sample(run: Run, calibration: Calibration) -> bool:
    """Whether the calibration was fitted on data of this run: then its error says too little about other data.

    Files are compared by their SHA-256, or by data set and split where one is not known.
    """
    return any(
        one.sha256 == known.sha256
        if one.sha256 is not None and known.sha256 is not None
        else ((one.dataset or one.name), one.split) == (known.dataset, known.split)
        for one in run.sets
        for known in calibration.fitted_on
    )


def _thresholds(run: Run, calibration: Calibration | None) -> dict[str, float]:
    return {} if calibration is None else {name: round(calibration.threshold_of(name), 6) for name in run.relations}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
