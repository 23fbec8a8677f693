"""Training runs, what was tried in them, and calibrations."""

import json
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from eval.report import cells
from eval.report.parts import DASH, Cell, Part, Section, Table, paragraph
from eval.report.plots import confidence_figure, learning_figure
from eval.report.results import ResultFile, Results, named, scored

REFERENCE = "tried.reference"
_OWN = ("output_dir",)
"""Settings that differ between any two runs and change nothing."""
_MISSING = "nothing"


def calibration_section(results: Results, fitted: ResultFile | None) -> Section:
    """Whether scores mean what they say, before and after calibration."""
    header = ["result file", "triples", "right", "without score", "ECE raw", "ECE calibrated", "in-sample", "method"]
    measured = [result for result in scored(results) if result.number("calibration", "n_triples")]
    rows = [
        [
            cells.file(result),
            *(cells.number(result, "calibration", key) for key in ("n_triples", "n_right", "n_unscored")),
            *(cells.number(result, "calibration", key, digits=3) for key in ("ece_raw", "ece_calibrated")),
            cells.yes_or_no(result, "calibration", "in_sample"),
            cells.text(result, "calibration", "method"),
            _fitted_on(result, "calibration", "fitted_on"),
            Cell("; ".join(result.get("calibration", "mismatches") or ()) or DASH.text),
        ]
        for result in measured
    ]
    parts: list[Part] = [
        paragraph(
            "Expected calibration error (ECE): the mean distance between the score of triples and the share of them that is "
            "right. In-sample means that the calibration was fitted on these very data, which makes its error too good."
        ),
        Table([*header, "fitted on", "other setting"], rows),
    ]
    if fitted is not None:
        parts += [paragraph("The calibration that is shipped with the default model:"), _calibration_table(fitted)]
    return Section("Calibration", [*parts, *map(confidence_figure, measured)])


def _calibration_table(fitted: ResultFile) -> Table:
    header = ["file", "method", "fitted on", "ECE raw", "ECE in-sample", "ECE cross-validated", "threshold", "thresholds"]
    row = [
        Cell(fitted.name, "code"),
        cells.text(fitted, "method"),
        _fitted_on(fitted, "fitted_on"),
        *(cells.number(fitted, "ece", key, digits=3) for key in ("raw", "in_sample", "cross_validated")),
        cells.number(fitted, "threshold", digits=3),
        cells.length(fitted, "thresholds"),
    ]
    return Table(header, [row])


def _fitted_on(result: ResultFile, *path: str) -> Cell:
    found = [" ".join(filter(None, (one.get("dataset"), one.get("split")))) for one in result.get(*path) or ()]
    return Cell(", ".join(found)) if found else DASH


def training_section(results: Results) -> Section:
    """The training runs, one row each."""
    header = ["run", "from", "template", "format", "documents", "tokens", "epochs", "seed", "minutes", "tokens/s"]
    runs = named(results, "training.")
    rows = [
        [
            cells.file(run),
            cells.text(run, "config", "model"),
            cells.code(run, "template"),
            cells.text(run, "config", "output_format"),
            cells.number(run, "n_train_documents"),
            cells.number(run, "n_train_tokens_per_epoch"),
            cells.number(run, "config", "optimizer", "epochs"),
            cells.number(run, "config", "seed"),
            cells.minutes(run, "duration_s"),
            _pace(run),
            *(cells.percent(run, moment, "strict", "f1") for moment in ("before", "after")),
            *(cells.percent(run, "old", moment, "strict", "f1") for moment in ("before", "after")),
        ]
        for run in runs
    ]
    after = ["dev F1 before", "dev F1 after", "old data before", "old data after"]
    figures = [learning_figure(run) for run in runs if run.get("log")]
    return Section(
        "Training runs",
        [
            paragraph("F1 is strict, on the run's development documents; old data is what the model knew before the run."),
            Table([*header, *after], rows),
            *figures,
        ],
    )


def _pace(run: ResultFile) -> Cell:
    """The median of the log."""
    found = [run.number("log", place, "tokens_per_s") for place in range(len(run.get("log") or ()))]
    known = [value for value in found if value is not None]
    return Cell(f"{statistics.median(known):.0f}") if known else DASH


def tried_table(results: Results) -> Table:
    """Variants of a reference run, one row each."""
    tried = named(results, "tried.")
    reference = results.get(REFERENCE)
    tried.sort(key=lambda result: result is not reference)
    rows = [
        [
            Cell(result.name.removeprefix("tried.")),
            _changes(result, reference),
            *(_f1_on(result, split) for split in ("dev", "test")),
            cells.number(result, "n_train_tokens"),
            cells.number(result, "minutes") if result.get("minutes") is not None else cells.minutes(result, "duration_s"),
            cells.file(result),
        ]
        for result in tried
    ]
    return Table(["variant", "what differs", "dev F1", "test F1", "training tokens", "minutes", "result file"], rows)


def tried_section(results: Results) -> Section:
    """Variants of a reference run."""
    table = tried_table(results)
    parts: list[Part] = [table]
    if table.rows and REFERENCE not in results:
        parts.append(paragraph("There is no ", Cell(f"{REFERENCE}.json", "code"), ": what differs is what the files say."))
    return Section("What was tried", parts)


def _f1_on(result: ResultFile, split: str) -> Cell:
    if result.text("split") == split:
        return cells.percent_with_interval(result, "strict", "f1")
    if split == "dev" and result.get("after") is not None:
        return cells.percent(result, "after", "strict", "f1")
    return cells.percent(result, split, "strict", "f1")


def _changes(result: ResultFile, reference: ResultFile | None) -> Cell:
    if result is reference:
        return Cell("(the reference)")
    if reference is None:
        return cells.code(result, "changes")
    theirs, ours = (_settings(one) for one in (reference, result))
    names = [name for name in dict.fromkeys([*theirs, *ours]) if theirs.get(name) != ours.get(name)]
    changes = [f"{name}: {theirs.get(name, _MISSING)} → {ours.get(name, _MISSING)}" for name in names]
    return Cell("; ".join(changes) or _MISSING)


def _settings(result: ResultFile) -> dict[str, str]:
    """The config as dotted names, each with its value as JSON."""
    config = result.get("training") or result.get("config") or {}
    return {name: value for name, value in _flat(config) if name not in _OWN}


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}[{place}]")
    else:
        yield prefix, json.dumps(value, ensure_ascii=False)
