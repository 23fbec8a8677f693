"""The model card of a run: what was trained from what, on what, how well it does, and what it can't do."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from genre_x.datasets import AnnotatedSet
from genre_x.models import BASE_MODEL
from genre_x.training.config import SourceConfig, TrainingConfig

TEMPLATE = Path(__file__).with_name("card.md.jinja")
CARD_FILE = "README.md"
UNKNOWN = "not stated"

_LICENCE_ROW = re.compile(r"^\|\s*licen[cs]e\s*\|\s*(.+?)\s*\|\s*$", re.IGNORECASE | re.MULTILINE)


def model_card(
    config: TrainingConfig,
    result: dict[str, Any],
    *,
    base: str,
    is_adapter: bool,
    sources: Sequence[tuple[SourceConfig, Sequence[AnnotatedSet]]],
) -> str:
    """Render the card.

    Args:
        config: Of the run.
        result: What `training.json` holds.
        base: The whole weights it was trained from, as others will name them.
        is_adapter: It is saved as an adapter of `base`.
        sources: Of the training data, with their sets.
    """
    environment = Environment(  # noqa: S701 (the output is Markdown, not HTML)
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    licences = {one.name: data_licence(source) for source, sets in sources for one in sets}
    rows = [{**row, "licence": licences.get(str(row["source"]), UNKNOWN)} for row in result["train_sources"]]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        config=config,
        result=result,
        base=base,
        base_licence=base_licence(base),
        is_adapter=is_adapter,
        rows=rows,
        languages=sorted({d.language for _, sets in sources for one in sets for d in one.documents if d.language}),
        settings=yaml.safe_dump(
            config.model_dump(
                mode="json", include={"episodes", "adapter", "frozen", "optimizer", "regularization", "precision"}
            ),
            sort_keys=False,
        ),
    )


def base_licence(base: str) -> str:
    """The licence of the model it was trained from, as far as its own card says."""
    if base == BASE_MODEL:
        return "apache-2.0"
    card = Path(base) / "README.md"
    if not card.is_file():
        return UNKNOWN
    head = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL)
    about = yaml.safe_load(head.group(1)) if head else None
    return str(about.get("license", UNKNOWN)) if isinstance(about, dict) else UNKNOWN


def data_licence(source: SourceConfig) -> str:
    """The licence of a data set, from the row `| licence | … |` of the README in its folder."""
    readme = Path(source.dataset) / "README.md" if source.dataset is not None else None
    if readme is None or not readme.is_file():
        return UNKNOWN
    found = _LICENCE_ROW.search(readme.read_text(encoding="utf-8"))
    return found.group(1) if found else UNKNOWN
