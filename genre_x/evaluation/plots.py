"""Pictures of a result: how reliable its scores are, and precision against recall."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genre_x.errors import require


def plot_result(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `reliability.png` and `curve.png`.

    Args:
        result: As `assess` gives it.
        folder: Made if it is not there.

    Returns:
        The files; none for a result without scored triples.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="eval")
    calibration = result["calibration"]
    if not calibration["n_triples"]:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    series = {"raw scores": calibration["bins"]}
    if calibration["bins_calibrated"] is not None:
        note = ", fitted on these data" if calibration["in_sample"] else ""
        series[f"calibrated ({calibration['method']}{note})"] = calibration["bins_calibrated"]
    return [
        _reliability(figure.Figure(figsize=(5, 5)), series, folder / "reliability.png"),
        _curve(figure.Figure(figsize=(5, 5)), calibration["curve"], folder / "curve.png"),
    ]


def _reliability(figure: Any, series: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> Path:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="dotted", label="perfect")
    for label, bins in series.items():
        filled = [one for one in bins if one["n"]]
        axes.plot([one["mean_score"] for one in filled], [one["share_right"] for one in filled], marker="o", label=label)
    axes.set(xlabel="mean score", ylabel="share of right triples", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")
    return path


def _curve(figure: Any, points: Sequence[Mapping[str, float]], path: Path) -> Path:
    axes = figure.subplots()
    axes.plot([point["recall"] for point in points], [point["precision"] for point in points], marker=".")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
    figure.savefig(path, dpi=150, bbox_inches="tight")
    return path
