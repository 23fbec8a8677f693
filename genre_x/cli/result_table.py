"""A result as tables for the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from genre_x.calibration import Calibration

Result = Mapping[str, Any]

_ROWS = ("strict", "boundaries", "text", "undirected", "strict_with_rejections")


def result_tables(result: Result) -> Iterator[Table | str]:
    """Scores, kinds of errors, and a few lines on the rest."""
    yield _scores(result)
    yield _errors(result)
    scores, calibration = result["scores"], result["calibration"]
    rejections = ", ".join(f"{name} {n}" for name, n in sorted(result["rejections"].items())) or "none"
    yield f"{scores['n_documents']} documents in {result['seconds']} s; rejections: {rejections}"
    if scores["n_empty"]:
        rate, interval = 100 * scores["empty_false_positive_rate"], _interval(result, "empty_false_positive_rate")
        yield (
            f"documents without gold: {scores['n_empty']}, with predictions: {scores['n_empty_with_predictions']} "
            f"(false-positive rate {rate:.1f} %, {interval})"
        )
    else:
        yield "documents without gold: 0"
    yield _calibration(calibration)


def calibration_table(calibration: Calibration) -> Table:
    """What was fitted, and how good it is."""
    table = Table("", "value", title=f"calibration, {calibration.method}")
    for one in calibration.fitted_on:
        split = f" {one.split}" if one.split else ""
        table.add_row("fitted on", f"{one.dataset}{split}: {one.n_triples} triples of {one.n_documents} documents")
    table.add_row("ECE of raw scores", _number(calibration.ece.get("raw")))
    table.add_row("ECE on the data of the fit", f"{_number(calibration.ece.get('in_sample'))} (too good)")
    table.add_row("ECE, cross-validated", _number(calibration.ece.get("cross_validated")))
    table.add_row("threshold", f"{calibration.threshold:.3f}")
    for relation, threshold in sorted(calibration.thresholds.items()):
        table.add_row(f"  {relation}", f"{threshold:.3f}")
    return table


def _scores(result: Result) -> Table:
    scores = result["scores"]
    setting = [part for part in (result["protocol"], f"entities {result['entities']}") if part]
    setting += [f"{result['n_answers']} answers"] if result["n_answers"] > 1 else []
    data = " ".join(part for part in (result.get("dataset"), result.get("split")) if part)
    title = f"{data}, {result['model']} ({', '.join(setting)}, min score {result['min_score']})"
    columns = ("matching", "precision", "recall", "F1", f"{100 * result['ci']['level']:.0f} % of F1", "tp", "fp", "fn")
    table = Table(*columns, title=title)
    for name in _ROWS:
        counts = scores[name]
        numbers = (str(counts[key]) for key in ("tp", "fp", "fn"))
        table.add_row(name.replace("_", " "), *_shares(counts), _interval(result, f"{name}.f1"), *numbers)
    label = f"macro, {scores['macro']['n_relations']} relations"
    table.add_row(label, *_shares(scores["macro"]), _interval(result, "macro.f1"), "", "", "")
    return table


def _errors(result: Result) -> Table:
    table = Table("error", "false positives", "false negatives", title="kinds of errors, strict")
    wrong, missed = result["errors"]["false_positives"], result["errors"]["false_negatives"]
    for name in dict.fromkeys((*wrong, *missed)):
        table.add_row(name.replace("_", " "), str(wrong.get(name, "")), str(missed.get(name, "")))
    return table


def _calibration(calibration: Mapping[str, Any]) -> str:
    before = f"ECE of raw scores: {_number(calibration['ece_raw'])} over {calibration['n_triples']} triples"
    if calibration["method"] is None:
        return f"{before}; no calibration"
    note = " (too good: the calibration was fitted on these data)" if calibration["in_sample"] else ""
    return f"{before}; calibrated ({calibration['method']}): {_number(calibration['ece_calibrated'])}{note}"


def _shares(counts: Mapping[str, float]) -> list[str]:
    return [f"{100 * counts[key]:.1f}" for key in ("precision", "recall", "f1")]


def _interval(result: Result, name: str) -> str:
    interval = result["ci"].get(name)
    return "" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
