"""The parts of a model that a config names: layers, token embeddings, dropout; for decoders and encoder-decoders."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from genre_x.errors import SchemaError
from genre_x.training.config import AdapterConfig, RegularizationConfig, TrainingConfig

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

ATTENTION_DROPOUT = ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop")
HIDDEN_DROPOUT = ("hidden_dropout", "hidden_dropout_prob", "dropout_rate", "dropout", "resid_pdrop")
"""Names of the same thing in the configs of transformers; the first that a config has is taken."""


def architecture_faults(config: TrainingConfig, architecture: "PretrainedConfig") -> list[str]:
    """What a config asks for that a model of this architecture does not have."""
    text = architecture.get_text_config()
    n_layers = text.num_hidden_layers
    faults = [
        f"frozen: `{part}`, but {architecture.model_type} has {n_layers} layers"
        for part in config.frozen
        if part.startswith("layers:") and int(part.partition(":")[2]) > n_layers
    ]
    if config.adapter is not None and config.adapter.layers is not None:
        beyond = [number for number in config.adapter.layers if number >= n_layers]
        if beyond:
            faults.append(f"adapter.layers: {beyond}, but {architecture.model_type} has layers 0 to {n_layers - 1}")
    regularization = config.regularization
    for field, names in (("attention_dropout", ATTENTION_DROPOUT), ("hidden_dropout", HIDDEN_DROPOUT)):
        if getattr(regularization, field) is not None and _first(text, names) is None:
            faults.append(f"regularization.{field}: {architecture.model_type} has none (none of {', '.join(names)})")
    return faults


def dropout_options(regularization: RegularizationConfig, architecture: "PretrainedConfig") -> dict[str, float]:
    """Options for `from_pretrained`: the dropout asked for, under the names of this architecture."""
    text = architecture.get_text_config()
    asked = ((regularization.attention_dropout, ATTENTION_DROPOUT), (regularization.hidden_dropout, HIDDEN_DROPOUT))
    return {name: rate for rate, names in asked if rate is not None and (name := _first(text, names)) is not None}


def _first(architecture: "PretrainedConfig", names: Sequence[str]) -> str | None:
    return next((name for name in names if hasattr(architecture, name)), None)


def layer_stacks(model: "PreTrainedModel") -> list[tuple[str, "nn.ModuleList"]]:
    """The layers of the decoder, or of encoder and decoder, each with its name in the model."""
    from torch import nn

    roots = [model.get_encoder(), model.get_decoder()] if model.config.is_encoder_decoder else [model.get_decoder()]
    names = {module: name for name, module in model.named_modules()}
    stacks = []
    for root in roots:
        lists = [module for module in root.children() if isinstance(module, nn.ModuleList)]
        if not lists:
            raise SchemaError(
                f"{type(model).__name__} keeps its layers in a way that is not known; leave out layers and frozen."
            )
        stack = max(lists, key=len)
        stacks.append((names[stack], stack))
    return stacks


def token_embeddings(model: "PreTrainedModel") -> list["nn.Module"]:
    """The modules that look up the vectors of input tokens.

    An encoder-decoder like T5 has a module for each side, with the same weights, and never calls the one that
    `get_input_embeddings` gives.
    """
    if not model.config.is_encoder_decoder:
        return [model.get_input_embeddings()]
    sides = (model.get_encoder().get_input_embeddings(), model.get_decoder().get_input_embeddings())
    return list(dict.fromkeys(sides))


def freeze(model: "PreTrainedModel", parts: Sequence[str]) -> None:
    """Keep parts of the weights as they are; see `TrainingConfig.frozen`.

    Raises:
        SchemaError: Nothing would be left to train.
    """
    for part in parts:
        kind, _, number = part.partition(":")
        if kind == "embeddings":
            modules = [model.get_input_embeddings(), *token_embeddings(model)]
        else:
            modules = [layer for _, stack in layer_stacks(model) for layer in stack[: int(number)]]
        for module in modules:
            module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SchemaError(f"frozen: {', '.join(parts)} leaves no weights to train.")


def adapter_targets(model: "PreTrainedModel", adapter: AdapterConfig) -> str | list[str]:
    """What LoRA calls `target_modules`: as the config has it, or the full names of modules in the layers it names.

    Raises:
        SchemaError: There are no such modules.
    """
    linear = dict(_linear_modules(model))
    known = sorted({name.rpartition(".")[2] for name in linear.values()})
    wanted = known if adapter.target_modules == "all-linear" else list(adapter.target_modules)
    if unknown := sorted(set(wanted) - set(known)):
        raise SchemaError(f"adapter.target_modules: {', '.join(unknown)}; the layers have: {', '.join(known)}.")
    if adapter.layers is None:
        return adapter.target_modules if isinstance(adapter.target_modules, str) else wanted
    return [name for (_, number, _), name in linear.items() if number in adapter.layers and name.rpartition(".")[2] in wanted]


def _linear_modules(model: "PreTrainedModel") -> Iterator[tuple[tuple[str, int, str], str]]:
    """Stack, number of the layer and name in it, of each linear module; and its name in the model."""
    from torch import nn

    for prefix, stack in layer_stacks(model):
        for number, layer in enumerate(stack):
            for name, module in layer.named_modules():
                if isinstance(module, nn.Linear):
                    yield (prefix, number, name), f"{prefix}.{number}.{name}"


def base_of(model: Any) -> "PreTrainedModel":
    """The model itself, without the wrapper of an adapter."""
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model
