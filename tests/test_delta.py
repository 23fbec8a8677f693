"""Deltas: what fine-tuning adds to its base, in a few bits a weight."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from genre_x.cli import app
from genre_x.delta import DELTA_FILE, LEVELS, read_delta, write_delta
from genre_x.errors import ModelError
from genre_x.models import find_model, load_model, shrink_model

# Max (1960), table I: the squared error for a normal distribution of variance 1.
DISTORTION = {2: 0.1175, 3: 0.03454, 4: 0.009497}


@pytest.mark.parametrize("bits", LEVELS)
def test_a_normal_change_is_stored_with_the_error_that_theory_says(bits, tmp_path):
    rng = np.random.default_rng(0)
    base = {"weight": rng.normal(size=(512, 300)).astype(np.float32)}
    change = rng.normal(scale=3e-4, size=(512, 300)).astype(np.float32)
    size = write_delta(base, {"weight": base["weight"] + change}, tmp_path / DELTA_FILE, bits=bits)
    assert size.n_weights == 512 * 300
    # Groups of 128 have scales of their own, so the error is a little below that of one scale for all.
    assert 0.9 * DISTORTION[bits] <= size.relative_error**2 <= DISTORTION[bits]
    restored = dict(read_delta(tmp_path / DELTA_FILE))["weight"]
    assert np.linalg.norm(restored - change) / np.linalg.norm(change) == pytest.approx(size.relative_error, rel=1e-2)
    assert size.n_bytes <= 512 * 300 * (bits + 16 / 128) / 8 + 1000


def test_groups_keep_their_own_scale_and_odd_sizes_fit(tmp_path):
    change = np.ones((3, 43), dtype=np.float32)  # one group of 128 and one of a single weight
    change[-1, -1] = 1000
    base = {"weight": np.zeros((3, 43), dtype=np.float32), "same": np.ones((2, 2), dtype=np.float32)}
    write_delta(base, {**base, "weight": change}, tmp_path / DELTA_FILE, bits=2)
    restored = dict(read_delta(tmp_path / DELTA_FILE))
    assert restored.keys() == {"weight"}
    assert restored["weight"] == pytest.approx(change, rel=0.01)


def test_vectors_are_stored_in_half_precision(tmp_path):
    norm = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    write_delta({"norm": norm}, {"norm": norm + 0.125}, tmp_path / DELTA_FILE)
    assert dict(read_delta(tmp_path / DELTA_FILE))["norm"].tolist() == [0.125] * 3


def test_frozen_weights_that_were_saved_in_half_precision_are_no_change(tmp_path):
    base = {"frozen": np.full((4, 4), 0.1, dtype=np.float32), "norm": np.ones(2, dtype=np.float32)}
    write_delta(base, {"frozen": base["frozen"].astype(np.float16), "norm": np.zeros(2)}, tmp_path / DELTA_FILE)
    assert dict(read_delta(tmp_path / DELTA_FILE)).keys() == {"norm"}


def test_weights_of_other_models_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"not those of the same model; they differ in b"):
        write_delta({"b": np.zeros(2)}, {"b": np.zeros(3)}, tmp_path / DELTA_FILE)
    with pytest.raises(ModelError, match="no change"):
        write_delta({"b": np.zeros(2)}, {"b": np.zeros(2)}, tmp_path / DELTA_FILE)
    with pytest.raises(ModelError, match="2, 3, 4 bits, found 7"):
        write_delta({"b": np.zeros(2)}, {"b": np.ones(2)}, tmp_path / DELTA_FILE, bits=7)


def test_a_file_that_is_no_delta_says_so(tmp_path):
    (tmp_path / DELTA_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="can't be read as a delta"):
        list(read_delta(tmp_path / DELTA_FILE))


@pytest.fixture
def tuned(tiny_decoder, tmp_path):
    """A folder with the tiny model's weights, moved a little."""
    model, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3 * torch.randn(parameter.shape, generator=generator))
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "tuned")
    (tmp_path / "tuned" / "genre_x.json").write_text('{"name": "tuned", "template": "re.v1@x", "output_format": "rows"}')
    return tmp_path / "tuned"


def test_a_shrunk_model_loads_as_the_tuned_one(tiny_decoder, tuned, tmp_path):
    shrink_model(str(tuned), tmp_path / "small", base=str(tiny_decoder), bits=4)
    files = find_model(str(tmp_path / "small"))
    assert (files.name, files.template, files.output_format) == ("tuned", "re.v1@x", "rows")
    ids = torch.tensor([[3, 5, 8, 13]])
    with torch.inference_mode():
        before, small, exact = (
            load_model(find_model(str(folder)), dtype=torch.float32)[0](ids).logits
            for folder in (tiny_decoder, tmp_path / "small", tuned)
        )
    assert (small - exact).norm() < 0.2 * (before - exact).norm()


def test_the_command_says_how_small_and_how_exact(tiny_decoder, tuned, tmp_path):
    arguments = ["shrink", str(tuned), str(tmp_path / "small"), "--base", str(tiny_decoder), "--bits", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "changed weights; the stored change is off by 3" in done.output  # the root of 0.1175 is 0.34
    assert json.loads((tmp_path / "small" / "genre_x.json").read_text())["base"] == str(tiny_decoder)


def test_a_delta_of_another_architecture_is_refused(tiny_decoder, tuned, tmp_path):
    shrink_model(str(tuned), tmp_path / "small", base=str(tiny_decoder))
    write_delta({"other": np.zeros((2, 2))}, {"other": np.ones((2, 2))}, tmp_path / "small" / DELTA_FILE)
    with pytest.raises(ModelError, match="does not belong to"):
        load_model(find_model(str(tmp_path / "small")), dtype=torch.float32)


def test_a_base_has_to_be_whole_weights(tiny_decoder, tuned, tmp_path):
    shrink_model(str(tuned), tmp_path / "small", base=str(tiny_decoder))
    with pytest.raises(ModelError, match="can't be a base: it is stored as a change of the weights of"):
        shrink_model(str(tuned), tmp_path / "smaller", base=str(tmp_path / "small"))
    assert not (tmp_path / "smaller").exists()
    about = tmp_path / "small" / "genre_x.json"
    about.write_text(json.dumps({"name": "m", "base": "default"}), encoding="utf-8")  # as such a file would name it
    with pytest.raises(ModelError, match="'default' can't be a base"):
        find_model(str(tmp_path / "small"))
