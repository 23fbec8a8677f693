"""Noise and adversarial shifts on token embeddings, as hooks: they act whether or not the embeddings' weights are trained."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle


def add_noise(embeddings: Sequence[nn.Module], alpha: float) -> list[RemovableHandle]:
    """NEFTune: from now on, in training mode, uniform noise of at most alpha / sqrt(length * width) is added.

    transformers' own `neftune_noise_alpha` does the same for the module of `get_input_embeddings`, which T5 never calls.
    """

    def noisy(module: nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        most = alpha / (output.shape[1] * output.shape[2]) ** 0.5
        return output + torch.empty_like(output).uniform_(-most, most)

    return [module.register_forward_hook(noisy) for module in embeddings]


@dataclass
class AdversarialShift:
    """The fast gradient method: where would a small step of the embeddings raise the loss most?

    Use `record` around a forward and backward pass, then `apply` around a second one over the same batch.

    Attributes:
        embeddings: Modules that look up token embeddings.
        epsilon: Length of the step of each sequence.
    """

    embeddings: Sequence[nn.Module]
    epsilon: float
    _outputs: list[torch.Tensor] = field(default_factory=list)
    _shifts: list[torch.Tensor] = field(default_factory=list)

    @contextmanager
    def record(self) -> Iterator[None]:
        """Remember the embeddings of a pass; afterwards, compute the shifts from their gradients."""

        def remember(_module: nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
            if output.requires_grad:
                output.retain_grad()
            else:  # frozen weights: the gradient ends here
                output = output.detach().requires_grad_()
            self._outputs.append(output)
            return output

        self._outputs.clear()
        with _hooks(self.embeddings, remember):
            yield
        self._shifts = [self._shift(output.grad) for output in self._outputs if output.grad is not None]
        self._outputs.clear()

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Add the shifts to the embeddings of a pass, in the order of the recorded one."""
        waiting = iter(self._shifts)

        def shift(_module: nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
            return output + next(waiting).to(output.dtype)

        with _hooks(self.embeddings, shift):
            yield
        self._shifts = []

    def _shift(self, gradient: torch.Tensor) -> torch.Tensor:
        """*Shape:* (batch_size, length, width); the norm is that of a whole sequence."""
        norms = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
        shift: torch.Tensor = (self.epsilon / norms)[:, None, None] * gradient
        return shift


@contextmanager
def _hooks(modules: Sequence[nn.Module], hook: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield
