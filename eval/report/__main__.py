"""Write the report, and the tables of README.md and of the model card."""

import sys

from eval.report import RESULTS, TARGETS, load_results, render
from eval.report.page import build, write
from eval.report.published import Published
from eval.report.results import load_result
from eval.report.targets import Targets
from eval.sentences import ROOT
from genre_x.calibration import CALIBRATION_FILE
from genre_x.errors import DataError

CALIBRATION = ROOT / "genre_x" / "default_model" / CALIBRATION_FILE


def main() -> None:
    """Write everything in place."""
    results = load_results()
    shipped = CALIBRATION.relative_to(ROOT).as_posix()
    sections = build(
        results,
        published=Published.load(ROOT / "eval" / "published.yaml"),
        targets=Targets.load(ROOT / "eval" / "targets.yaml").targets,
        calibration=load_result(CALIBRATION, shipped) if CALIBRATION.is_file() else None,
    )
    written = write(sections, RESULTS)
    for target in TARGETS:
        target.write_text(render(target.read_text(encoding="utf-8"), results), encoding="utf-8")
    for path in (*written, *TARGETS):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    try:
        main()
    except DataError as error:
        sys.exit(str(error))
