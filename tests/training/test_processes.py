"""Two processes on the CPU learn what one learns from twice the batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from genre_x.training.run import train

ROOT = Path(__file__).parents[2]
OPTIMIZER = {"learning_rate": 1e-3, "epochs": 2, "warmup_ratio": 0.0}


def losses(folder):
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))["log"]
    return [entry["loss"] for entry in log if "loss" in entry]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_two_processes_are_one_with_twice_the_batch(make_config, tiny_decoder, tmp_path):
    options = {"select_by": "f1", "eval_steps": 3, "logging_steps": 1, "regularization": {"fgm_epsilon": 0.2}}
    options |= {"f1_documents": 1, "dev_documents": 1}
    one = make_config(tiny_decoder, tmp_path / "one", optimizer={**OPTIMIZER, "batch_size": 4}, **options)
    two = make_config(tiny_decoder, tmp_path / "two", optimizer={**OPTIMIZER, "batch_size": 2}, **options)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(two.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
    # `accelerate launch` starts torchrun for GPUs alone, so on the CPU it is called itself.
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    command += ["-m", "genre_x", "train", str(tmp_path / "two.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    train(one)
    assert len(losses(tmp_path / "one")) == len(losses(tmp_path / "two")) == 6
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    for name, weights in first.items():
        assert (weights.float() - second[name].float()).abs().mean() < 1e-4, name
    result = json.loads((tmp_path / "two" / "training.json").read_text(encoding="utf-8"))
    assert result["n_processes"] == 2
    assert len([entry for entry in result["log"] if "eval_f1" in entry]) == 2
    assert done.stderr.count("step 1 of 6") == 1  # one process writes the log
