"""Supervised fine-tuning: TRL's SFTTrainer for decoders, transformers' Seq2SeqTrainer for encoder-decoders."""

import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genre_x.chat import encode_chat
from genre_x.datasets import AnnotatedSet
from genre_x.errors import require
from genre_x.evaluation import environment, evaluate, write_result
from genre_x.formats import get_format
from genre_x.interfaces import GenerationConfig
from genre_x.models import BASE_MODEL, BASE_NAME, METADATA_FILE, cache_dir, find_model, load_model
from genre_x.prompting import PromptTemplate
from genre_x.training.config import EpisodesConfig, TrainingConfig
from genre_x.training.episodes import Episode, EpisodeBuilder
from genre_x.training.mixture import build_episodes, describe, load_mixture

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
    from trl import SFTTrainer

logger = logging.getLogger(__name__)

RESULT_FILE = "training.json"

IGNORED = -100
"""Label of a token without loss, as torch's cross entropy and transformers define it."""


def train(config: TrainingConfig, *, resume: bool = False) -> Path:
    """Fine-tune a model.

    Args:
        config: All that the run depends on.
        resume: Go on from the newest checkpoint in the run folder, if there is one.

    Returns:
        The folder of the trained model or adapter, in the run folder.

    Raises:
        DataError: The training data can't be read, or no document fits into a sequence.
    """
    for module in ("trl", "datasets", "accelerate"):
        require(module, extra="train")
    import torch
    import transformers

    started = time.time()
    sources = {role: load_mixture(getattr(config, role), config.seed) for role in ("train", "dev")}
    files = find_model(config.model)
    transformers.set_seed(config.seed)
    goes_on = files.adapter is not None and config.adapter is not None
    model, tokenizer = load_model(replace(files, adapter=None) if goes_on else files, dtype=torch.float32)
    if goes_on:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(files.adapter), is_trainable=True)
    builder = episode_builder(config, tokenizer, single_document=model.config.is_encoder_decoder)
    rng = random.Random(config.seed)
    episodes = {
        role: build_episodes(found, builder, rng, tokens=getattr(config, role).tokens) for role, found in sources.items()
    }
    encode = _encode_seq2seq if model.config.is_encoder_decoder else _encode_decoder
    records = {role: [encode(tokenizer, episode) for episode in found] for role, found in episodes.items()}
    n_tokens = sum(len(record["input_ids"]) for record in records["train"])
    logger.info(
        "%d documents in %d sequences, %d tokens per epoch",
        sum(episode.n_documents for episode in episodes["train"]),
        len(records["train"]),
        n_tokens,
    )
    _freeze(model, config.frozen)
    if config.compile_layers:
        for layer in (model.get_base_model() if goes_on else model).get_decoder().layers:
            layer.compile()
    trainer = _trainer(config, model, tokenizer, records)
    folder = config.output_dir
    outcome = trainer.train(resume_from_checkpoint=_newest_checkpoint(folder) if resume else None)
    target = folder / "model"
    base = BASE_MODEL if files.base == str(cache_dir() / BASE_NAME) else files.base
    _save(trainer.model, tokenizer, target, config, builder.template.id, base=base)
    dev_sets = [annotated for source in sources["dev"] for annotated in source.sets]
    duration_s = time.time() - started + (_earlier_duration(folder) if resume else 0.0)
    result = {
        "config": config.model_dump(mode="json"),
        "template": builder.template.id,
        "model": files.name,
        "before": _dev_scores(config, config.model, dev_sets),
        "after": _dev_scores(config, str(target), dev_sets),
        "n_train_documents": sum(episode.n_documents for episode in episodes["train"]),
        "n_train_sequences": len(records["train"]),
        "train_sources": describe(episodes["train"]),
        "n_train_tokens_per_epoch": n_tokens,
        "metrics": outcome.metrics,
        "log": trainer.state.log_history,
        "duration_s": round(duration_s, 1),
        **environment(),
    }
    write_result(result, folder / RESULT_FILE)
    for moment in ("before", "after"):
        logger.info("%s training: strict F1 %.1f", moment, 100 * result[moment]["strict"]["f1"])
    return target


def _dev_scores(config: TrainingConfig, model: str, sets: Sequence[AnnotatedSet]) -> dict[str, Any]:
    """Scores of a model on the development documents, by generation under the constraint."""
    from genre_x.backends.transformers import TransformersBackend

    result = evaluate(
        sets,
        TransformersBackend(model),
        template=config.template,
        output_format=config.output_format,
        config=GenerationConfig(max_new_tokens=256),
        limit=config.dev_documents,
    )
    scores: dict[str, Any] = result["scores"]
    return scores


def episode_builder(config: TrainingConfig, tokenizer: "PreTrainedTokenizerBase", *, single_document: bool) -> EpisodeBuilder:
    """The builder that a run uses; encoder-decoders take one document per sequence."""
    episodes = config.episodes
    if single_document:
        episodes = EpisodesConfig(**{**episodes.model_dump(), "max_documents": 1})
    return EpisodeBuilder(
        template=PromptTemplate.load(config.template),
        output_format=get_format(config.output_format),
        config=episodes,
        count_tokens=lambda messages: len(encode_chat(tokenizer, messages).ids),
    )


def _freeze(model: "PreTrainedModel", parts: Sequence[str]) -> None:
    """Keep parts of the weights as they are; see `TrainingConfig.frozen`."""
    for part in parts:
        kind, _, number = part.partition(":")
        modules = [model.get_input_embeddings()] if kind == "embeddings" else model.get_decoder().layers[: int(number)]
        for module in modules:
            module.requires_grad_(False)


def _encode_decoder(tokenizer: "PreTrainedTokenizerBase", episode: Episode) -> dict[str, list[int]]:
    """Loss on every answer and on the token that ends it."""
    chat = encode_chat(tokenizer, episode.messages)
    labels = [token if answer else IGNORED for token, answer in zip(chat.ids, chat.in_answer, strict=True)]
    return {"input_ids": chat.ids, "labels": labels}


def _encode_seq2seq(tokenizer: "PreTrainedTokenizerBase", episode: Episode) -> dict[str, list[int]]:
    """The prompt goes to the encoder, the answer to the decoder."""
    prompt = encode_chat(tokenizer, episode.messages[:-1])
    answer = tokenizer(episode.messages[-1].content, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return {"input_ids": prompt.ids, "labels": [*answer, tokenizer.eos_token_id]}


def _trainer(
    config: TrainingConfig,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    records: Mapping[str, list[dict[str, list[int]]]],
) -> "Trainer":
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import DataCollatorForSeq2Seq, EarlyStoppingCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments
    from trl import SFTConfig

    optimizer = config.optimizer
    steps = len(records["train"]) / optimizer.batch_size / optimizer.gradient_accumulation_steps * optimizer.epochs
    arguments: dict[str, Any] = {
        "output_dir": str(config.output_dir),
        "learning_rate": optimizer.learning_rate,
        "num_train_epochs": optimizer.epochs,
        "per_device_train_batch_size": optimizer.batch_size,
        "per_device_eval_batch_size": optimizer.batch_size,
        "gradient_accumulation_steps": optimizer.gradient_accumulation_steps,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(steps * optimizer.warmup_ratio),
        "weight_decay": optimizer.weight_decay,
        "train_sampling_strategy": "group_by_length",  # less padding; the order within an epoch stays the seed's
        "max_grad_norm": optimizer.max_grad_norm,
        "eval_strategy": "steps",
        "eval_steps": config.eval_steps,
        "save_strategy": "steps",
        "save_steps": config.eval_steps,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "logging_steps": 10,
        "report_to": "none",
        "seed": config.seed,
        "bf16": config.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    callbacks = []
    if config.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(config.early_stopping_patience))
    lora = None
    if config.adapter is not None and not hasattr(model, "peft_config"):
        lora = LoraConfig(
            r=config.adapter.rank,
            lora_alpha=config.adapter.alpha,
            lora_dropout=config.adapter.dropout,
            target_modules="all-linear",
            task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        )
    data = {role: Dataset.from_list(found) for role, found in records.items()}
    if not model.config.is_encoder_decoder:
        return _answer_trainer_class()(
            model=model,
            args=SFTConfig(**arguments, max_length=None, pad_to_multiple_of=64 if config.compile_layers else None),
            train_dataset=data["train"],
            eval_dataset=data["dev"],
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=callbacks,
        )
    if lora is not None:
        from peft import get_peft_model

        model = get_peft_model(model, lora)
    return Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(**arguments),
        train_dataset=data["train"],
        eval_dataset=data["dev"],
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def _answer_trainer_class() -> type["SFTTrainer"]:
    """TRL's SFTTrainer with a loss that projects the answers' positions only.

    TRL 1.16 computes its loss in tiles made for GPUs (`trl/kernels/chunked_logprob.py`); on a CPU they took two thirds of a
    step. The call goes through the model's own forward, so wrappers for several processes still see it.
    """
    from torch.nn.functional import cross_entropy
    from trl import SFTTrainer

    class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            inputs = dict(inputs)
            targets = inputs.pop("labels")[:, 1:]  # the logits at position i say token i + 1
            answered = targets != IGNORED
            positions = answered.any(dim=0).nonzero(as_tuple=True)[0]
            outputs = model(**inputs, use_cache=False, logits_to_keep=positions)
            answered, targets = answered[:, positions], targets[:, positions]
            loss = cross_entropy(outputs.logits[answered].float(), targets[answered], reduction="sum")
            n_tokens = answered.sum() if num_items_in_batch is None else num_items_in_batch
            loss = loss / n_tokens
            if self.args.average_tokens_across_devices and num_items_in_batch is not None:
                loss = loss * self.accelerator.num_processes  # as Trainer does: DDP averages the gradients
            return (loss, outputs) if return_outputs else loss

    return AnswerTrainer


def _save(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    target: Path,
    config: TrainingConfig,
    template_id: str,
    *,
    base: str,
) -> None:
    """Save weights or adapter in half precision, with what is needed to use them rightly."""
    import torch

    if config.adapter is not None:
        model.peft_config["default"].base_model_name_or_path = base
    state = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    model.save_pretrained(str(target), state_dict=state)
    if config.adapter is None:
        tokenizer.save_pretrained(str(target))
    about = {"name": config.output_dir.name, "template": template_id, "output_format": config.output_format}
    (target / METADATA_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _earlier_duration(folder: Path) -> float:
    """Seconds that finished runs in this folder took."""
    file = folder / RESULT_FILE
    return float(json.loads(file.read_text(encoding="utf-8"))["duration_s"]) if file.is_file() else 0.0


def _newest_checkpoint(folder: Path) -> str | None:
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return str(checkpoints[-1]) if checkpoints else None
