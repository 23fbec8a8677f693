"""A training run, from the config to the run folder."""

import logging
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from genre_x.backends.transformers import TransformersBackend
from genre_x.datasets import AnnotatedSet
from genre_x.errors import require
from genre_x.evaluation import environment
from genre_x.formats import get_format
from genre_x.models import BASE_MODEL, BASE_NAME, cache_dir, load_model
from genre_x.prompting import PromptTemplate
from genre_x.training.config import EpisodesConfig, TrainingConfig
from genre_x.training.counting import TokenCounter
from genre_x.training.encoding import encode_decoder, encode_seq2seq
from genre_x.training.episodes import Episode, EpisodeBuilder
from genre_x.training.mixture import build_episodes, describe
from genre_x.training.parts import base_of, freeze, layer_stacks
from genre_x.training.plan import Plan, Sources, make_plan
from genre_x.training.record import RESULT_FILE, earlier_duration, write_end, write_start
from genre_x.training.scorer import DevScorer, sample
from genre_x.training.selection import save_model, select_weights
from genre_x.training.trainer import Records, build_trainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

__all__ = ["RESULT_FILE", "episode_builder", "train"]

logger = logging.getLogger(__name__)


def train(config: TrainingConfig, *, resume: bool = False) -> Path:
    """Fine-tune a model. Under `accelerate launch`, every process calls this, and the first one writes.

    Args:
        config: All that the run depends on.
        resume: Go on from the newest checkpoint in the run folder, if there is one.

    Returns:
        The folder of the trained model or adapter, in the run folder.

    Raises:
        SchemaError: The config, the data and the model do not go together; all faults are named.
        DataError: No document fits into a sequence.
    """
    for module in ("trl", "datasets", "accelerate"):
        require(module, extra="train")

    started = time.monotonic()
    is_first = int(os.environ.get("RANK", "0")) == 0
    if not is_first:
        logging.getLogger("genre_x").setLevel(logging.WARNING)
    plan = make_plan(config, resume=resume)
    earlier_s = earlier_duration(config.output_dir, plan.checkpoint) if plan.checkpoint else 0.0
    if is_first:
        write_start(config)
    transformers.set_seed(config.seed)
    model, tokenizer = _load(config, plan)
    builder = episode_builder(config, tokenizer, single_document=model.config.is_encoder_decoder)
    episodes, records = _sequences(config, plan.sources, builder, tokenizer, is_seq2seq=model.config.is_encoder_decoder)
    dev_sets = [annotated for source in plan.sources["dev"] for annotated in source.sets]
    old_sets = [annotated for source in plan.sources["old_dev"] for annotated in source.sets]
    scorer = DevScorer(
        sets=sample(dev_sets, config.f1_documents, config.seed),
        tokenizer=tokenizer,
        template=config.template,
        output_format=config.output_format,
    )
    by_f1 = config.select_by == "f1"
    trainer = build_trainer(config, model, tokenizer, records, scorer=scorer if by_f1 else None, earlier_s=earlier_s)
    outcome = trainer.train(resume_from_checkpoint=str(plan.checkpoint) if plan.checkpoint else None)
    target = config.output_dir / "model"
    if not is_first:
        return target
    selection = select_weights(config, trainer, scorer)
    base = BASE_MODEL if plan.files.base == str(cache_dir() / BASE_NAME) else plan.files.base
    is_adapter = config.adapter is not None and plan.files.delta is None
    save_model(trainer.model, tokenizer, target, config, builder.template.id, base=base, is_adapter=is_adapter)
    result = {
        "config": config.model_dump(mode="json"),
        "template": builder.template.id,
        "model": plan.files.name,
        **_counts(trainer, episodes["train"], records["train"]),
        "selection": selection,
        "metrics": outcome.metrics,
        "log": trainer.state.log_history,
        **_scores(config, scorer, dev_sets, target),
        "old": _scores(config, scorer, old_sets, target) if old_sets else None,
        "duration_s": round(earlier_s + time.monotonic() - started, 1),
        **environment(),
    }
    write_end(config, result, base=base, is_adapter=is_adapter, sources=plan.sources["train"])
    for moment in ("before", "after") if result["old"] else ():
        logger.info("%s training: strict F1 %.1f on `old_dev`", moment, 100 * result["old"][moment]["strict"]["f1"])
    return target


def _load(config: TrainingConfig, plan: Plan) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """The model to train: with the adapter that is trained further, with frozen parts, with compiled layers."""
    goes_on = plan.files.adapter is not None and config.adapter is not None
    files = replace(plan.files, adapter=None) if goes_on else plan.files
    model, tokenizer = load_model(files, dtype=torch.float32, **plan.dropout)
    if goes_on:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(plan.files.adapter), is_trainable=True)
    freeze(model, config.frozen)
    if config.compile_layers:
        for _, stack in layer_stacks(base_of(model)):
            for layer in stack:
                layer.compile()
    return model, tokenizer


def _sequences(
    config: TrainingConfig,
    sources: Sources,
    builder: EpisodeBuilder,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    is_seq2seq: bool,
) -> tuple[dict[str, list[Episode]], Records]:
    """The episodes of both roles, and their tokens."""
    rng = random.Random(config.seed)
    episodes = {
        role: build_episodes(sources[role], builder, rng, tokens=mixture.tokens)
        for role, mixture in (("train", config.train), ("dev", config.dev))
    }
    encode = encode_seq2seq if is_seq2seq else encode_decoder
    records = {role: [encode(tokenizer, episode) for episode in found] for role, found in episodes.items()}
    logger.info(
        "%d documents in %d sequences, %d tokens per epoch",
        sum(episode.n_documents for episode in episodes["train"]),
        len(records["train"]),
        sum(len(record["input_ids"]) for record in records["train"]),
    )
    return episodes, records


def episode_builder(config: TrainingConfig, tokenizer: "PreTrainedTokenizerBase", *, single_document: bool) -> EpisodeBuilder:
    """The builder that a run uses; encoder-decoders take one document per sequence."""
    episodes = config.episodes
    if single_document:
        episodes = EpisodesConfig(**{**episodes.model_dump(), "max_documents": 1})
    return EpisodeBuilder(
        template=PromptTemplate.load(config.template),
        output_format=get_format(config.output_format),
        config=episodes,
        count_tokens=TokenCounter(tokenizer),
    )


def _counts(trainer: "Trainer", episodes: Sequence[Episode], records: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    weights = list(trainer.model.parameters())
    return {
        "n_train_documents": sum(episode.n_documents for episode in episodes),
        "n_train_sequences": len(records),
        "train_sources": describe(episodes),
        "n_train_tokens_per_epoch": sum(len(record["input_ids"]) for record in records),
        "n_weights": sum(one.numel() for one in weights),
        "n_trained_weights": sum(one.numel() for one in weights if one.requires_grad),
        "n_steps": trainer.state.global_step,
        "n_processes": trainer.args.world_size,
    }


def _scores(config: TrainingConfig, scorer: DevScorer, sets: Sequence[AnnotatedSet], target: Path) -> dict[str, Any]:
    """Scores on the development documents before and after, altogether and for each source."""
    drawn = sample(sets, config.dev_documents, config.seed)
    results = {
        moment: scorer.result(TransformersBackend(model), drawn)
        for moment, model in (("before", config.model), ("after", str(target)))
    }
    pairs = zip(results["before"]["sets"], results["after"]["sets"], strict=True)
    return {
        "before": results["before"]["scores"],
        "after": results["after"]["scores"],
        "per_source": [
            {
                "source": before["name"],
                "n_documents": before["n_documents"],
                "before": before["scores"]["strict"],
                "after": after["scores"]["strict"],
            }
            for before, after in pairs
        ],
    }
