"""Fine-tuned weights as a small file: what they add to their base, in a few bits a weight.

Fine-tuning all weights moves each of them a little. The change has no outliers to speak of, so it can be stored far more
coarsely than weights themselves (the finding of BitDelta, Liu et al. 2024, https://arxiv.org/abs/2402.10193): each group of
weights keeps its own scale, and each weight the nearest of a few levels, those with the least squared error for a normal
distribution (Max 1960, "Quantizing for Minimum Distortion", table I).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genre_x.errors import ModelError

DELTA_FILE = "delta.safetensors"

GROUP_SIZE = 128
"""Weights that share a scale. Its 16 bits add an eighth of a bit to each."""

LEVELS: Mapping[int, tuple[float, ...]] = {
    2: (0.4528, 1.510),
    3: (0.2451, 0.7560, 1.344, 2.152),
    4: (0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733),
}
"""For a number of bits, the positive half of the levels, in standard deviations; the negative half mirrors it."""


@dataclass(frozen=True)
class DeltaSize:
    """What writing a delta came to.

    Attributes:
        n_weights: How many weights changed.
        n_bytes: Size of the file.
        relative_error: Root of the squared error of the stored change, divided by that of the change; 0 is exact.
    """

    n_weights: int
    n_bytes: int
    relative_error: float


def write_delta(base: Mapping[str, np.ndarray], tuned: Mapping[str, np.ndarray], path: Path, *, bits: int = 3) -> DeltaSize:
    """Write the change from `base` to `tuned`. Matrices are quantised, vectors are stored in float16.

    Args:
        base: Weights by name.
        tuned: The same names and shapes.
        path: The file.
        bits: 2, 3 or 4 for each weight of a matrix.

    Raises:
        ModelError: The weights are not those of the same architecture, or are equal.
    """
    if bits not in LEVELS:
        raise ModelError(f"A delta has {', '.join(map(str, LEVELS))} bits, found {bits}.")
    shapes = [{name: array.shape for name, array in weights.items()} for weights in (base, tuned)]
    if different := sorted(name for name in shapes[0].keys() | shapes[1].keys() if shapes[0].get(name) != shapes[1].get(name)):
        raise ModelError(f"The weights are not those of the same model; they differ in {', '.join(different[:5])}.")
    stored: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {"bits": bits, "group_size": GROUP_SIZE, "shapes": {}}
    n_weights, error, energy = 0, 0.0, 0.0
    for name in base:
        new, old = (np.asarray(weights[name], dtype=np.float32) for weights in (tuned, base))
        change = new - old
        # A frozen weight that was saved in half precision differs by the rounding alone.
        if not change.any() or np.array_equal(new, old.astype(np.float16).astype(np.float32)):
            continue
        n_weights += change.size
        about["shapes"][name] = list(change.shape)
        if change.ndim < 2:
            stored[name] = change.astype(np.float16)
            continue
        planes, scales = _quantised(change, bits)
        stored |= {f"{name}:planes": planes, f"{name}:scales": scales}
        error += float(np.square(_restored(planes, scales, change.shape, bits) - change).sum(dtype=np.float64))
        energy += float(np.square(change).sum(dtype=np.float64))
    if not stored:
        raise ModelError("The weights are equal: there is no change to write.")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, path, metadata={"genre_x": json.dumps(about)})
    return DeltaSize(n_weights, path.stat().st_size, (error / energy) ** 0.5 if energy else 0.0)


def read_delta(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The changed weights of a delta: names, and what is to be added, in float32.

    Raises:
        ModelError: The file is not a delta.
    """
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["genre_x"])
            for name, shape in about["shapes"].items():
                if len(shape) < 2:
                    yield name, file.get_tensor(name).astype(np.float32)
                else:
                    planes, scales = file.get_tensor(f"{name}:planes"), file.get_tensor(f"{name}:scales")
                    yield name, _restored(planes, scales, tuple(shape), about["bits"])
    except (OSError, KeyError, SafetensorError) as error:
        raise ModelError(f"{path} can't be read as a delta: {error}") from error


def _levels(bits: int) -> np.ndarray:
    """All levels in ascending order, shape (2 ** bits,)."""
    positive = np.array(LEVELS[bits], dtype=np.float32)
    return np.concatenate([-positive[::-1], positive])


def _quantised(change: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Bit planes of the levels' numbers, shape (bits, n_bytes), and a scale per group, shape (n_groups,)."""
    flat = change.reshape(-1)
    groups = np.pad(flat, (0, -len(flat) % GROUP_SIZE), mode="edge").reshape(-1, GROUP_SIZE)
    levels = _levels(bits)
    deviation = np.sqrt(np.square(groups).mean(1, keepdims=True))
    limits = (levels[1:] + levels[:-1]) / 2
    codes = np.searchsorted(limits, groups / np.maximum(deviation, 1e-12)).astype(np.uint8)
    # The scale with the least squared error for the levels that were chosen; for a normal distribution the deviation itself.
    chosen = levels[codes]
    scales = (groups * chosen).sum(1) / np.square(chosen).sum(1)
    flat_codes = codes.reshape(-1)[: len(flat)]
    planes = np.stack([np.packbits((flat_codes >> bit) & 1) for bit in range(bits)])
    return planes, scales.astype(np.float16)


def _restored(planes: np.ndarray, scales: np.ndarray, shape: tuple[int, ...], bits: int) -> np.ndarray:
    n_weights = int(np.prod(shape))
    codes = np.zeros(len(scales) * GROUP_SIZE, dtype=np.uint8)
    for bit in range(bits):
        codes[:n_weights] |= np.unpackbits(planes[bit], count=n_weights) << bit
    change = _levels(bits)[codes].reshape(-1, GROUP_SIZE) * scales.astype(np.float32)[:, None]
    return change.reshape(-1)[:n_weights].reshape(shape)
