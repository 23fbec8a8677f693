"""What a run starts from, checked before any weights are loaded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers import AutoConfig

from genre_x.errors import GenreXError, SchemaError, UnknownNameError, require
from genre_x.formats import get_format
from genre_x.models import ModelFiles, find_model
from genre_x.prompting import PromptTemplate
from genre_x.training.augmentation import load_synonyms
from genre_x.training.config import Mixture, TrainingConfig
from genre_x.training.mixture import LoadedSource, load_mixture
from genre_x.training.parts import architecture_faults, dropout_options
from genre_x.training.schemas import load_paraphrases
from genre_x.training.weights import checkpoints

logger = logging.getLogger(__name__)

Sources = Mapping[str, list[LoadedSource]]
"""For `train`, `dev` and `old_dev`."""


@dataclass(frozen=True)
class Plan:
    """What a run starts from.

    Attributes:
        dropout: Options for `from_pretrained`.
        checkpoint: To go on from, or None.
    """

    files: ModelFiles
    sources: Sources
    dropout: Mapping[str, float]
    checkpoint: Path | None


def make_plan(config: TrainingConfig, *, resume: bool) -> Plan:
    """Read all that a run starts from, except for the weights.

    Raises:
        SchemaError: Something is wrong; all faults are named.
    """
    faults: list[str] = []
    sources: dict[str, list[LoadedSource]] = {}
    try_each: dict[str, Callable[[], object]] = {
        "template": lambda: PromptTemplate.load(config.template),
        "output_format": lambda: get_format(config.output_format),
        "train": lambda: sources.update(train=load_mixture(config.train, config.seed)),
        "dev": lambda: sources.update(dev=load_mixture(config.dev, config.seed)),
        "old_dev": lambda: sources.update(old_dev=load_mixture(config.old_dev, config.seed) if config.old_dev else []),
        "episodes.paraphrases": lambda: load_paraphrases(config.episodes.paraphrases),
        **{f"synonyms {path}": partial(load_synonyms, path) for path in _synonym_files(config.train)},
        "tensorboard": lambda: require("tensorboard", extra="train") if config.tensorboard else None,
    }
    for name, attempt in try_each.items():
        try:
            attempt()
        except GenreXError as error:
            faults.append(f"{name}: {error}")
    there = checkpoints(config.output_dir)
    if there and not resume:
        faults.append(f"output_dir: {config.output_dir} has checkpoints of an earlier run; use --resume, or another folder")
    files, dropout = None, {}
    try:
        files = find_model(config.model)
        architecture = AutoConfig.from_pretrained(files.base)
    except (GenreXError, OSError, ValueError) as error:
        faults.append(f"model: {error}")
    else:
        faults += _template_faults(files)
        faults += architecture_faults(config, architecture)
        dropout = dropout_options(config.regularization, architecture)
    if faults or files is None:
        noun = "fault" if len(faults) == 1 else "faults"
        raise SchemaError("\n".join([f"The run can't start: {len(faults)} {noun}", *(f"  - {fault}" for fault in faults)]))
    learnt = {"template": (files.template or "").partition("@")[0], "output_format": files.output_format}
    for name, known in learnt.items():
        if known and known != getattr(config, name):
            logger.warning(
                "Model %r was fine-tuned with the %s %r, and will learn %r anew.",
                files.name,
                name.replace("_", " "),
                known,
                getattr(config, name),
            )
    return Plan(files, sources, dropout, there[-1] if there else None)


def _synonym_files(mixture: Mixture) -> list[Path]:
    """Files that a mixture and what it replays take synonyms from."""
    settings = [mixture.augmentation, *(source.augmentation for source in mixture.sources)]
    files = [one.synonyms for one in settings if one is not None and one.synonym_rate and one.synonyms is not None]
    return list(dict.fromkeys(files + (_synonym_files(mixture.replay.mixture) if mixture.replay else [])))


def _template_faults(files: ModelFiles) -> list[str]:
    """Whether the template that the model knows is gone: then nobody can say what it could do before."""
    if files.template is None:
        return []
    try:
        found = PromptTemplate.load(files.template.partition("@")[0]).id
    except UnknownNameError as error:
        return [f"model: {files.name!r} was fine-tuned with the template {files.template!r}. {error}"]
    if found == files.template:
        return []
    return [f"model: {files.name!r} was fine-tuned with the template {files.template!r}, and here is {found!r}"]
