"""The weights in checkpoint folders: read, averaged, put back into the model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from genre_x.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Weights = dict[str, torch.Tensor]


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first; those that a killed run left unfinished are not among them."""
    complete = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return sorted(complete, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def state_of(checkpoint: Path) -> dict[str, Any]:
    """The trainer's state as it was saved."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return state


def read_weights(checkpoint: Path) -> Weights:
    """The weights, or those of the adapter, in a checkpoint.

    Raises:
        ModelError: There are none.
    """
    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{checkpoint} has no weights (*.safetensors).")
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def average_weights(folders: Sequence[Path]) -> Weights:
    """The mean of each weight over some checkpoints, computed in float64 and kept in the weights' own precision."""
    sums = {name: tensor.double() for name, tensor in read_weights(folders[0]).items()}
    for folder in folders[1:]:
        for name, tensor in read_weights(folder).items():
            sums[name] += tensor.double()
    kinds = {name: tensor.dtype for name, tensor in read_weights(folders[-1]).items()}
    return {name: (total / len(folders)).to(kinds[name]) for name, total in sums.items()}


def put_weights(model: "PreTrainedModel", weights: Weights) -> None:
    """Set a model's weights, or those of its adapter, in place.

    Raises:
        ModelError: They belong to another model.
    """
    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict

        unexpected = set_peft_model_state_dict(model, weights).unexpected_keys
    else:
        unexpected = model.load_state_dict(weights, strict=False).unexpected_keys  # tied weights are stored once
    if unexpected:
        raise ModelError(f"The checkpoint has weights that {type(model).__name__} has not: {', '.join(unexpected):.300}.")
