"""The report: tables and pictures from the result files, and nothing that is not in one.

    python -m eval.report

writes eval/results/report.md, eval/results/report.html and eval/results/plots/, and fills the marked tables of README.md and
of the model card.
"""

from collections.abc import Mapping
from pathlib import Path

from eval.report import results
from eval.report.readme import RESULTS, TARGETS, render
from eval.report.results import ResultFile

__all__ = ["RESULTS", "TARGETS", "load_results", "render"]


def load_results(folder: Path = RESULTS) -> Mapping[str, ResultFile]:
    """All result files, by name without suffix, in order.

    Raises:
        DataError: Some can't be read; all of them are named.
    """
    return results.load_results(folder)
