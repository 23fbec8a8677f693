"""The run folder: what was run, with which versions, how it went, and what came of it."""

import importlib.util
import json
import logging
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from genre_x.evaluation import environment, write_result
from genre_x.training.callbacks import describe_device
from genre_x.training.card import CARD_FILE, model_card
from genre_x.training.config import TrainingConfig
from genre_x.training.mixture import LoadedSource
from genre_x.training.weights import state_of

logger = logging.getLogger(__name__)

RESULT_FILE = "training.json"
CONFIG_FILE = "config.yaml"
VERSIONS_FILE = "versions.json"
CURVES_FILE = "curves.png"


def write_start(config: TrainingConfig) -> None:
    """Write what is known before the first step: the config with all defaults, and the versions."""
    folder = config.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    surroundings = {**environment(), "python": platform.python_version(), "platform": platform.platform(), **describe_device()}
    write_result(surroundings, folder / VERSIONS_FILE)


def write_end(
    config: TrainingConfig, result: dict[str, Any], *, base: str, is_adapter: bool, sources: Sequence[LoadedSource]
) -> None:
    """Write the result, the curves and the model card into the run folder."""
    folder = config.output_dir
    write_result(result, folder / RESULT_FILE)
    draw_curves(result["log"], folder / CURVES_FILE)
    about = {**result, **describe_device(), "stopped_by": result["selection"]["stopped_by"]}
    card = model_card(
        config, about, base=base, is_adapter=is_adapter, sources=[(source.config, source.sets) for source in sources]
    )
    for place in (folder, folder / "model"):
        (place / CARD_FILE).write_text(card, encoding="utf-8")
    for moment in ("before", "after"):
        logger.info("%s training: strict F1 %.1f", moment, 100 * result[moment]["strict"]["f1"])


def earlier_duration(folder: Path, checkpoint: Path | None) -> float:
    """Seconds that earlier parts of a run took: up to the checkpoint it goes on from, or to the end of one that finished."""
    file = folder / RESULT_FILE
    finished = float(json.loads(file.read_text(encoding="utf-8"))["duration_s"]) if file.is_file() else 0.0
    if checkpoint is None:
        return finished
    logged = [float(entry["seconds"]) for entry in state_of(checkpoint)["log_history"] if "seconds" in entry]
    return max([finished, *logged])


def draw_curves(log: list[dict[str, Any]], path: Path) -> bool:
    """Draw training loss, development loss and development F1 over the steps.

    Returns:
        Whether there is a picture: it needs matplotlib, and a run does not fail for want of it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        logger.warning("No %s: `matplotlib` is not installed. Install it with `pip install 'genre-x[eval]'`.", path.name)
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    losses = figure.add_subplot()
    for name, label, style in (("loss", "training loss", "-"), ("eval_loss", "development loss", "o-")):
        steps, values = series(log, name)
        if steps:
            losses.plot(steps, values, style, label=label)
    losses.set(xlabel="optimizer steps", ylabel="loss per token")
    handles, labels = losses.get_legend_handles_labels()
    steps, values = series(log, "eval_f1")
    if steps:
        scores = losses.twinx()
        (line,) = scores.plot(steps, values, "s--", color="tab:green")
        scores.set(ylabel="strict F1", ylim=(0, 1))
        handles, labels = [*handles, line], [*labels, "development F1"]
    losses.legend(handles, labels)
    figure.savefig(path, dpi=120)
    return True


def series(log: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one quantity in a log; a step that was logged again counts as it was last.

    >>> series([{"step": 1, "loss": 3.0}, {"step": 2, "eval_loss": 2.5}, {"step": 2, "loss": 2.0}], "loss")
    ([1, 2], [3.0, 2.0])
    """
    found = {int(entry["step"]): float(entry[name]) for entry in log if name in entry}
    return list(found), list(found.values())
