"""What a run would train on and how long it would take, without training: `genre-x train CONFIG --dry-run`."""

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genre_x.models import ModelFiles, find_model, load_model
from genre_x.training.config import TrainingConfig
from genre_x.training.encoding import IGNORED, encode_decoder, encode_seq2seq
from genre_x.training.episodes import Episode
from genre_x.training.mixture import SetReport, build_reports, load_mixture
from genre_x.training.parts import freeze
from genre_x.training.run import episode_builder
from genre_x.training.trainer import build_trainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_EPISODES = 3
"""How many episodes are shown unless asked otherwise."""

_N_MEASURED = 2
_WITH_LOSS, _SPECIAL = "bold black on green", "magenta"

Record = dict[str, list[int]]


@dataclass(frozen=True)
class Pace:
    """How fast a model was trained in a short measurement.

    Attributes:
        n_batches: Batches that were measured, after one that was not.
        n_tokens: In them, without padding.
        duration_s: Forward and backward passes together; no optimizer step, no evaluation.
        device: Where the model was.
        n_threads: Of the processor.
    """

    n_batches: int
    n_tokens: int
    duration_s: float
    device: str
    n_threads: int

    def seconds_for(self, n_tokens: float) -> float:
        return self.duration_s * n_tokens / self.n_tokens


def preview(config: TrainingConfig, console: Console, *, n_episodes: int = N_EPISODES) -> None:
    """Print the first episodes as the model sees them, a table of the sources, and the time that the run would take.

    Args:
        config: Of the run.
        console: Gets all of it.
        n_episodes: How many episodes are printed.

    Raises:
        DataError: The training data can't be read, or no document fits into a sequence.
        ModelError: There is no such model.
    """
    sources = load_mixture(config.train, config.seed)
    transformers.set_seed(config.seed)
    files = find_model(config.model)
    model, tokenizer = load_model(files, dtype=torch.float32)
    is_seq2seq = model.config.is_encoder_decoder
    builder = episode_builder(config, tokenizer, single_document=is_seq2seq)
    rng = random.Random(config.seed)
    reports = build_reports(sources, builder, rng, tokens=config.train.tokens)
    episodes = [episode for report in reports for episode in report.episodes]
    rng.shuffle(episodes)
    encode = encode_seq2seq if is_seq2seq else encode_decoder
    for number, episode in enumerate(episodes[:n_episodes], start=1):
        about = f"{number}: {episode.source}, {episode.n_documents} documents, {episode.n_tokens} tokens"
        console.rule(Text(about), align="left")
        console.print(shown(tokenizer, encode(tokenizer, episode), is_seq2seq=is_seq2seq, marks=not console.is_terminal))
    console.print(sources_table(reports))
    pace = measure(config, model, tokenizer, [encode(tokenizer, one) for one in _some(config, episodes)])
    _print_estimate(config, console, files, pace, sum(report.n_tokens for report in reports))


def shown(tokenizer: "PreTrainedTokenizerBase", record: Record, *, is_seq2seq: bool, marks: bool) -> Text:
    """A sequence with its special tokens; what carries loss stands out.

    Args:
        tokenizer: Of the model.
        record: From `genre_x.training.encoding`.
        is_seq2seq: The labels are a sequence of their own.
        marks: Set `«` and `»` around tokens that carry loss, for a place without colours.
    """
    ids, has_loss = record["input_ids"], [label != IGNORED for label in record["labels"]]
    if is_seq2seq:
        ids, has_loss = [*ids, *record["labels"]], [False] * len(ids) + [True] * len(record["labels"])
    special = set(tokenizer.all_special_ids)
    text = Text()
    kinds = groupby(zip(ids, has_loss, strict=True), key=lambda pair: (pair[1], pair[0] in special))
    was_loss = False
    for (loss, is_special), run in kinds:
        if marks and loss != was_loss:
            text.append("«" if loss else "»")
        was_loss = loss
        piece = tokenizer.decode([token for token, _ in run], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        text.append(piece, _WITH_LOSS if loss else _SPECIAL if is_special else "")
    if marks and was_loss:
        text.append("»")
    return text


def sources_table(reports: Sequence[SetReport]) -> Table:
    """What an epoch takes from each set, and what it leaves out."""
    reasons = list(dict.fromkeys(reason for report in reports for reason in report.tally.left_out))
    translates = any(report.n_untranslated for report in reports)
    total = sum(report.n_tokens for report in reports)
    table = Table("source", title="An epoch", title_justify="left", caption_justify="left")
    names = ["sequences", "documents", "empty answers", "tokens", "share", "available", "used", "bad records"]
    for name in (*names, *reasons, *(["not translated"] if translates else [])):
        table.add_column(name, justify="right")

    def add(label: str, rows: Sequence[SetReport], style: str | None = None) -> None:
        episodes = [episode for row in rows for episode in row.episodes]
        n_tokens = sum(row.n_tokens for row in rows)
        taken = [len(episodes), sum(one.n_documents for one in episodes), sum(one.n_empty for one in episodes), n_tokens]
        there = [
            sum(row.tally.n_documents for row in rows),
            sum(row.tally.n_used for row in rows),
            sum(row.n_bad for row in rows),
        ]
        left_out = [sum(row.tally.left_out.get(reason, 0) for row in rows) for reason in reasons]
        untranslated = [sum(row.n_untranslated for row in rows)] if translates else []
        numbers = [f"{count:,}" for count in (*there, *left_out, *untranslated)]
        table.add_row(label, *(f"{count:,}" for count in taken), f"{n_tokens / total:.1%}", *numbers, style=style)

    for report in reports:
        add(f"{report.name} (old)" if report.is_replayed else report.name, [report])
    if len(reports) > 1:
        add("all", reports, style="bold")
    table.caption = (
        "documents: with repeats, as answers in sequences; used: without repeats, of those available. "
        "The columns after `bad records` count documents that no sequence has, by reason."
    )
    return table


def measure(
    config: TrainingConfig, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", records: Sequence[Record]
) -> Pace:
    """Time forward and backward passes of the trainer that the run would use.

    Args:
        config: Of the run; its run folder is not touched.
        model: As it is loaded, without the run's adapter.
        tokenizer: Of the model.
        records: Enough for one batch that warms up, and those that are measured.
    """
    freeze(model, config.frozen)
    n_tokens, duration_s, n_batches = 0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        apart = config.model_copy(update={"output_dir": Path(folder), "tensorboard": False})
        trainer = build_trainer(apart, model, tokenizer, {"train": list(records), "dev": list(records[:1])})
        device = trainer.args.device
        trainer.model.to(device).train()
        for place, batch in enumerate(trainer.get_train_dataloader()):
            inputs = {name: value.to(device) for name, value in batch.items()}
            started = time.perf_counter()
            with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
                loss = trainer.compute_loss(trainer.model, dict(inputs))
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            trainer.model.zero_grad()
            if place > 0:
                n_batches += 1
                n_tokens += int(inputs["attention_mask"].sum())
                duration_s += time.perf_counter() - started
    return Pace(n_batches, n_tokens, duration_s, str(device), torch.get_num_threads())


def _some(config: TrainingConfig, episodes: Sequence[Episode]) -> list[Episode]:
    """The first episodes of the run, as many as a measurement takes; repeated where there are not enough."""
    return list(islice(cycle(episodes), (1 + _N_MEASURED) * config.optimizer.batch_size))


def _print_estimate(config: TrainingConfig, console: Console, files: ModelFiles, pace: Pace, n_tokens: int) -> None:
    epochs = config.optimizer.epochs
    seconds = pace.seconds_for(n_tokens * epochs)
    console.print(f"{n_tokens:,} tokens per epoch, {n_tokens * epochs:,.0f} in {epochs:g} epochs.", highlight=False)
    console.print(
        f"About {_duration(seconds)}: {files.name} took {pace.duration_s:.1f} s for the forward and backward passes of "
        f"{pace.n_batches} batches ({pace.n_tokens:,} tokens, {config.precision}) on {pace.device} with {pace.n_threads} "
        "threads, after one that was not measured. Optimizer steps, evaluations and scores come on top.",
        highlight=False,
    )


def _duration(seconds: float) -> str:
    """A time in the unit that fits it.

    >>> _duration(45), _duration(600), _duration(9000)
    ('45 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
