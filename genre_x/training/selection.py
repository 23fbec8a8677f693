"""Which weights a run keeps: those of the best checkpoint, or the average of the last ones; and how they are saved."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genre_x.models import METADATA_FILE
from genre_x.training.callbacks import Stopping
from genre_x.training.config import TrainingConfig
from genre_x.training.scorer import DevScorer
from genre_x.training.weights import average_weights, checkpoints, put_weights, read_weights, step_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

logger = logging.getLogger(__name__)


def select_weights(config: TrainingConfig, trainer: "Trainer", scorer: DevScorer) -> dict[str, Any]:
    """Put the weights that the run keeps into its model: of the best checkpoint, or the average of the last ones."""
    best = trainer.state.best_model_checkpoint
    selection: dict[str, Any] = {
        "by": config.select_by,
        "kept": "last",
        "best_step": None,
        "best_metric": trainer.state.best_metric,
        "stopped_by": _stopped_by(trainer),
        "average": None,
    }
    if best is not None:
        put_weights(trainer.model, read_weights(Path(best)))
        selection |= {"kept": "best", "best_step": step_of(Path(best))}
    if config.average_checkpoints is None:
        return selection
    last = [folder for folder in checkpoints(config.output_dir) if _is_scheduled(step_of(folder), config, trainer)]
    last = last[-config.average_checkpoints :]
    if len(last) < config.average_checkpoints:
        logger.warning("There are %d checkpoints to average instead of %d.", len(last), config.average_checkpoints)
    best_f1, _ = scorer.f1(trainer.model)
    kept = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    put_weights(trainer.model, average_weights(last))
    average_f1, _ = scorer.f1(trainer.model)
    logger.info("F1 of the best checkpoint %.3f, of the average of the last %d %.3f", best_f1, len(last), average_f1)
    selection |= {"best_f1": best_f1, "average": {"steps": [step_of(folder) for folder in last], "f1": average_f1}}
    if average_f1 > best_f1:
        selection["kept"] = "average"
    else:
        trainer.model.load_state_dict(kept)
    return selection


def _is_scheduled(step: int, config: TrainingConfig, trainer: "Trainer") -> bool:
    """Whether a run that is not interrupted has a checkpoint there; one that `max_minutes` ended left another one."""
    intervals = (config.eval_steps, config.checkpoint_steps or config.eval_steps)
    return step == trainer.state.global_step or any(step % interval == 0 for interval in intervals)


def _stopped_by(trainer: "Trainer") -> str | None:

    return next((one.reason for one in trainer.callback_handler.callbacks if isinstance(one, Stopping)), None)


def save_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    target: Path,
    config: TrainingConfig,
    template_id: str,
    *,
    base: str,
    is_adapter: bool,
) -> None:
    """Save weights or adapter in half precision, with what is needed to use them rightly.

    An adapter names its base by a folder or an id. A model that is stored as a delta has neither, so an adapter that was
    trained on one is merged, and the weights are saved as a whole.
    """
    if is_adapter:
        model.peft_config["default"].base_model_name_or_path = base
    elif config.adapter is not None:
        logger.info("The base is stored as a delta: the adapter is merged into its weights.")
        model = model.merge_and_unload()
    state = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    model.save_pretrained(str(target), state_dict=state)
    if not is_adapter:
        tokenizer.save_pretrained(str(target))
    about = {"name": config.output_dir.name, "template": template_id, "output_format": config.output_format}
    (target / METADATA_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
