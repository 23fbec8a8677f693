"""The trainers: TRL's SFTTrainer for decoders, transformers' Seq2SeqTrainer for encoder-decoders, and what both add."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy
from transformers.trainer_pt_utils import LengthGroupedSampler

from genre_x.training.callbacks import Pace, ShownProgress, Stopping, tensorboard_callback
from genre_x.training.config import AdapterConfig, OptimizerConfig, TrainingConfig
from genre_x.training.encoding import IGNORED
from genre_x.training.parts import adapter_targets, base_of, token_embeddings
from genre_x.training.perturbation import AdversarialShift, add_noise
from genre_x.training.scorer import DevScorer

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

Records = Mapping[str, list[dict[str, list[int]]]]

_WAIT_S = 24 * 3600
"""How long processes wait for the first one, which alone generates."""


def build_trainer(
    config: TrainingConfig,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    records: Records,
    *,
    scorer: DevScorer | None = None,
    earlier_s: float = 0.0,
) -> "Trainer":
    """The trainer of a run.

    Args:
        config: Of the run.
        model: With an adapter, if one is trained further; else the adapter is added here.
        tokenizer: Of the model.
        records: Encoded sequences for `train` and `dev`.
        scorer: Computes F1 at each evaluation; None leaves it at the loss.
        earlier_s: Seconds that earlier parts of the run took.
    """
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import DataCollatorForSeq2Seq, PrinterCallback, Seq2SeqTrainingArguments
    from trl import SFTConfig

    is_seq2seq = model.config.is_encoder_decoder
    if config.adapter is not None and not hasattr(model, "peft_config"):
        lora = lora_config(model, config.adapter)
        model = get_peft_model(model, lora)
    pace, progress = Pace(earlier_s), ShownProgress()
    settings = arguments(config, len(records["train"]))
    options: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_list(records["train"]),
        "eval_dataset": Dataset.from_list(records["dev"]),
        "processing_class": tokenizer,
        "callbacks": [Stopping(config), progress, pace],
    }
    if is_seq2seq:
        options["args"] = Seq2SeqTrainingArguments(**settings)
        options["data_collator"] = DataCollatorForSeq2Seq(tokenizer, model=base_of(model))
    else:
        padding = 64 if config.compile_layers else None
        options["args"] = SFTConfig(**settings, max_length=None, pad_to_multiple_of=padding)
    added = _Added.of(config, model, scorer=scorer, pace=pace, progress=progress)
    trainer = _trainer_class(is_seq2seq=is_seq2seq)(added, **options)
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for results
    if config.tensorboard and trainer.is_world_process_zero():
        trainer.add_callback(tensorboard_callback(config.output_dir))
    return trainer


def lora_config(model: "PreTrainedModel", adapter: AdapterConfig) -> "LoraConfig":
    """The adapter as peft wants it."""
    from peft import LoraConfig

    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter_targets(model, adapter),
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
    )


def arguments(config: TrainingConfig, n_sequences: int) -> dict[str, Any]:
    """The arguments that both trainers take."""
    by_f1 = config.select_by == "f1"
    return {
        "output_dir": str(config.output_dir),
        "num_train_epochs": config.optimizer.epochs,
        "per_device_train_batch_size": config.optimizer.batch_size,
        "per_device_eval_batch_size": config.optimizer.batch_size,
        "gradient_accumulation_steps": config.optimizer.gradient_accumulation_steps,
        **_optimizer_arguments(config.optimizer, n_sequences),
        "train_sampling_strategy": "group_by_length",  # less padding; see `SeededByLength`
        "eval_strategy": "steps",
        "eval_steps": config.eval_steps,
        "save_strategy": "steps",
        "save_steps": config.checkpoint_steps or config.eval_steps,
        # And the best one; and one that a time limit wrote, which is not averaged.
        "save_total_limit": 1 + (config.average_checkpoints or 1) + (config.max_minutes is not None),
        # The best weights are read by `run.py`: `load_best_model_at_end` would forbid checkpoints between evaluations.
        "metric_for_best_model": "eval_f1" if by_f1 else "eval_loss",
        "greater_is_better": by_f1,
        "logging_steps": config.logging_steps,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": config.seed,
        "bf16": config.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "ddp_find_unused_parameters": False,
        "ddp_timeout": _WAIT_S,
    }


def _optimizer_arguments(optimizer: OptimizerConfig, n_sequences: int) -> dict[str, Any]:
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate set it
    steps = n_sequences / optimizer.batch_size / n_processes / optimizer.gradient_accumulation_steps * optimizer.epochs
    found: dict[str, Any] = {
        "learning_rate": optimizer.learning_rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(optimizer.schedule, optimizer.schedule),
        "warmup_steps": round(steps * optimizer.warmup_ratio),
        "weight_decay": optimizer.weight_decay,
        "adam_beta1": optimizer.beta1,
        "adam_beta2": optimizer.beta2,
        "adam_epsilon": optimizer.epsilon,
        "max_grad_norm": optimizer.max_grad_norm,
    }
    if optimizer.schedule == "warmup_stable_decay":
        n_decay = max(1, round(steps * optimizer.decay_ratio))
        found["lr_scheduler_kwargs"] = {"num_decay_steps": n_decay, "decay_type": "1-sqrt"}
    return found


@dataclass(frozen=True)
class _Added:
    """What our trainers do beyond those they are made from."""

    label_smoothing: float
    neftune_alpha: float | None
    shift: AdversarialShift | None
    scorer: DevScorer | None
    pace: Pace
    progress: ShownProgress

    @classmethod
    def of(
        cls,
        config: TrainingConfig,
        model: "PreTrainedModel",
        *,
        scorer: DevScorer | None,
        pace: Pace,
        progress: ShownProgress,
    ) -> "_Added":
        wanted = config.regularization
        shift = None
        if wanted.fgm_epsilon is not None:
            shift = AdversarialShift(token_embeddings(base_of(model)), wanted.fgm_epsilon)
        return cls(wanted.label_smoothing, wanted.neftune_alpha, shift, scorer, pace, progress)


def _trainer_class(*, is_seq2seq: bool) -> type["Trainer"]:
    """The class of the trainer; TRL is imported only now, because it is optional."""
    from transformers import Seq2SeqTrainer
    from trl import SFTTrainer

    base: Any = Seq2SeqTrainer if is_seq2seq else SFTTrainer

    class AnswerTrainer(base):  # type: ignore[misc]
        """Loss on the answers' positions alone; adversarial passes; F1 by generation; the same order after a resume.

        TRL 1.16 computes its loss in tiles made for GPUs (`trl/kernels/chunked_logprob.py`); on a CPU they took two thirds
        of a step. The call goes through the model's own forward, so wrappers for several processes still see it.
        """

        loss_is_scaled_for_ga = True  # by the number of tokens of all accumulated batches

        def __init__(self, added: _Added, **options: Any) -> None:
            super().__init__(**options)
            self.model_accepts_loss_kwargs = True  # so that those tokens are counted for every architecture
            self.added = added

        def train(self, *args: Any, **kwargs: Any) -> Any:
            alpha = self.added.neftune_alpha
            handles = [] if alpha is None else add_noise(token_embeddings(base_of(self.model)), alpha)
            try:
                return super().train(*args, **kwargs)
            finally:
                for handle in handles:
                    handle.remove()
                self.added.progress.close()

        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
            shift = self.added.shift
            if shift is None:
                loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
                return loss
            with shift.record():
                loss = super().training_step(model, dict(inputs), num_items_in_batch)
            with shift.apply():
                super().training_step(model, dict(inputs), num_items_in_batch)
            return loss

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            outputs, logits, targets = _answers(model, dict(inputs), is_seq2seq=is_seq2seq)
            smoothing = self.added.label_smoothing if model.training else 0.0
            loss = cross_entropy(logits.float(), targets, reduction="sum", label_smoothing=smoothing)
            loss = loss / (len(targets) if num_items_in_batch is None else num_items_in_batch)
            if self.args.average_tokens_across_devices and num_items_in_batch is not None:
                loss = loss * self.accelerator.num_processes  # as Trainer does: DDP averages the gradients
            return (loss, outputs) if return_outputs else loss

        def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
            output = super().evaluation_loop(*args, **kwargs)
            if self.added.scorer is not None:
                output.metrics.update(self._f1())
            return output

        def _f1(self) -> dict[str, float]:
            """By the first process; the others wait and are told."""
            from accelerate.utils import broadcast_object_list

            found = [0.0, 0.0]
            if self.is_world_process_zero() and self.added.scorer is not None:
                found = list(self.added.scorer.f1(self.model))
            if self.args.world_size > 1:
                found = broadcast_object_list(found)
            return {"eval_f1": found[0], "eval_f1_seconds": round(found[1], 2)}

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            logs.update(self.added.pace.entry(self.state) if "loss" in logs or "eval_loss" in logs else {})
            super().log(logs, start_time)

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Nothing: the run folder gets a card of our own."""

        def _get_train_sampler(self, train_dataset: Any = None) -> "SeededByLength":
            n_sequences = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            lengths = [len(ids) for ids in (train_dataset or self.train_dataset)["input_ids"]]
            return SeededByLength(n_sequences, lengths, self)

    return AnswerTrainer


class SeededByLength(LengthGroupedSampler):  # type: ignore[misc]
    """Sequences of similar length side by side, in an order that seed and epoch alone decide.

    transformers' sampler draws from torch's global random numbers, whose state at the start of an epoch a run that is resumed
    within this epoch does not know.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], trainer: "Trainer") -> None:
        super().__init__(batch_size, lengths=list(lengths))
        self._trainer = trainer

    def __iter__(self) -> Any:
        epoch = int(self._trainer.state.epoch or 0)
        self.generator = torch.Generator().manual_seed(self._trainer.args.seed + epoch)
        return super().__iter__()


def _answers(model: Any, inputs: dict[str, Any], *, is_seq2seq: bool) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The model's output, and the logits and targets of the answers' tokens: (n_tokens, vocabulary size) and (n_tokens,)."""
    labels = inputs.pop("labels")
    if is_seq2seq:
        outputs = model(**inputs, use_cache=False)
        answered = labels != IGNORED
        return outputs, outputs.logits[answered], labels[answered]
    targets = labels[:, 1:]  # the logits at position i say token i + 1
    answered = targets != IGNORED
    positions = answered.any(dim=0).nonzero(as_tuple=True)[0]
    if inputs["attention_mask"][:, 0].all():
        # The padding is on the right, where no earlier token of a decoder sees it; without a mask, attention skips half
        # of its work: 1.2 (bf16) to 1.7 (fp32) times as many tokens a second on a CPU, for two sequences of 1,000 tokens.
        inputs["attention_mask"] = None
    outputs = model(**inputs, use_cache=False, logits_to_keep=positions)
    answered, targets = answered[:, positions], targets[:, positions]
    return outputs, outputs.logits[answered], targets[answered]
