"""Pictures, as SVG in black, white and one grey: shapes and line styles tell series apart, not colours."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eval.report import cells
from eval.report.parts import Cell, Figure, paragraph
from eval.report.published import System
from eval.report.results import ResultFile
from genre_x.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

mpl, figures, ticker = (require(f"matplotlib{part}", extra="eval") for part in ("", ".figure", ".ticker"))

BLACK, GREY, WHITE = "#000000", "#808080", "#ffffff"
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "genre_x",  # the same names of parts in every run
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 5,
}


def confidence_figure(result: ResultFile) -> Figure:
    """Reliability before and after calibration, and precision against recall."""
    with mpl.rc_context(_STYLE):
        canvas = figures.Figure(figsize=(7.2, 3.4), layout="constrained")
        reliability, curve = canvas.subplots(1, 2)
        reliability.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
        for key, label, style in (("bins", "raw", "o-"), ("bins_calibrated", "calibrated", "s--")):
            filled = [one for one in result.get("calibration", key) or () if one.get("n")]
            if filled:
                x, y = ([one[name] for one in filled] for name in ("mean_score", "share_right"))
                reliability.plot(x, y, style, color=BLACK, markerfacecolor=WHITE if key == "bins" else BLACK, label=label)
        reliability.set(xlabel="mean score of triples", ylabel="share of right triples", xlim=(0, 1), ylim=(0, 1.02))
        reliability.legend(loc="upper left")
        points = result.get("calibration", "curve") or ()
        curve.plot([point["recall"] for point in points], [point["precision"] for point in points], ".-", color=BLACK)
        curve.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        return Figure(
            f"confidence.{result.name}",
            _svg(canvas),
            "Left: share of right triples against their mean score. Right: precision against recall.",
            paragraph("Reliability of scores, and precision against recall, strict: ", cells.file(result), "."),
        )


def learning_figure(run: ResultFile) -> Figure:
    """Losses of a training run by step, and F1 on development documents where the run measured it."""
    with mpl.rc_context(_STYLE):
        has_f1 = any("eval_f1" in entry for entry in run.get("log"))
        canvas = figures.Figure(figsize=(7.2 if has_f1 else 4.4, 3.0), layout="constrained")
        panels = canvas.subplots(1, 2 if has_f1 else 1, squeeze=False)[0]
        _series(panels[0], run, "loss", "training", "-", color=GREY)
        _series(panels[0], run, "eval_loss", "development", "o-")
        panels[0].set(xlabel="step", ylabel="loss per token of the answers")
        panels[0].set_ylim(bottom=0)
        panels[0].legend()
        if has_f1:
            _series(panels[1], run, "eval_f1", "development", "o-", scale=100)
            panels[1].set_ylim(bottom=0)
            panels[1].set(xlabel="step", ylabel="strict F1 on development documents, %")
        for panel in panels:
            panel.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
        return Figure(
            f"learning.{run.name}",
            _svg(canvas),
            "Loss by training step.",
            paragraph("Learning curves: ", cells.file(run), "."),
        )


def _series(axes: "Axes", run: ResultFile, key: str, label: str, style: str, *, color: str = BLACK, scale: float = 1) -> None:
    points = [(entry["step"], scale * entry[key]) for entry in run.get("log") if key in entry and "step" in entry]
    if points:
        axes.plot(*zip(*points, strict=True), style, color=color, label=label)


def f1_figure(
    name: str, title: str, results: Sequence[ResultFile], comparable: Sequence[System], others: Sequence[System]
) -> Figure:
    """Strict F1 of ours with intervals, above published scores that can be compared, above those that can't."""
    systems = [*comparable, *others]
    with mpl.rc_context(_STYLE):
        labels = [f"{result.text('model')}, {result.name}" for result in results]
        labels += [f"{one.system} ({one.metric}, {one.protocol})" for one in systems]
        canvas = figures.Figure(figsize=(7.2, 0.9 + 0.24 * len(labels)), layout="constrained")
        axes = canvas.subplots()
        for place, result in enumerate(results):
            _own_point(axes, place, result)
        for place, one in enumerate(systems, start=len(results)):
            axes.plot([one.score], [place], "D", color=BLACK, markerfacecolor=BLACK if one in comparable else WHITE)
        axes.set(yticks=range(len(labels)), yticklabels=labels, xlabel="F1, %", xlim=(0, 100), ylim=(len(labels) - 0.5, -0.5))
        axes.grid(axis="x", color=GREY, linewidth=0.3)
        if systems:
            axes.axhline(len(results) - 0.5, color=GREY, linewidth=0.6)
        return Figure(
            name,
            _svg(canvas),
            "F1 of our results above published ones; the tables above have the numbers.",
            paragraph(
                f"{title}. Dots: ours, strict, with intervals where the file has them",
                "; filled diamonds: published, nothing known against comparing them" if comparable else "",
                "; open diamonds: published, not comparable, for the reasons in the table" if others else "",
                ". ",
                *_files(results),
            ),
        )


def _own_point(axes: "Axes", place: int, result: ResultFile) -> None:
    value = result.number("scores", "strict", "f1")
    if value is None:
        return
    low, high = (result.number("ci", "strict.f1", end) for end in (0, 1))
    if low is not None and high is not None:
        axes.plot([100 * low, 100 * high], [place, place], "|-", color=BLACK, markersize=7)
    axes.plot([100 * value], [place], "o", color=BLACK)


def _files(results: Sequence[ResultFile]) -> list[Cell | str]:
    pieces: list[Cell | str] = []
    for result in results:
        pieces += [cells.file(result), ", "]
    return [*pieces[:-1], "."]


def _svg(canvas: "Canvas") -> str:
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor=WHITE)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
