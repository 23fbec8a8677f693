"""The dry run, on tiny random models."""

import re

import pytest
import torch
from rich.console import Console
from torch.nn.modules.module import register_module_forward_hook
from typer.testing import CliRunner

from genre_x.cli import app
from genre_x.training.mixture import load_mixture
from genre_x.training.preview import preview


def dry_run(config, **options):
    console = Console(record=True, width=220, force_terminal=False)
    preview(config, console, **options)
    return console.export_text()


def test_a_decoders_sequences_sources_and_time(make_config, tiny_decoder, tmp_path):
    config = make_config(tiny_decoder, tmp_path / "run")
    shown = dry_run(config, n_episodes=2)
    assert len(re.findall(r"^1: |^2: ", shown, re.MULTILINE)) == 2
    assert shown.count("<|im_start|>system") == 2
    (document,) = {one.text for one in load_mixture(config.train, 0)[0].sets[0].documents if one.text in shown.split("»")[0]}
    head, verb, tail = document.removesuffix(".").split()
    assert f'«[["{head}","{verb}","{tail}"]]<|im_end|>»' in shown  # the answer and its end carry loss, nothing else does
    assert re.search(r"train +│ +12 │ +24 │ +0 │ +[\d,]+ │ +100.0% │ +24 │ +24 │ +0", shown), shown
    assert re.search(r"[\d,]+ tokens per epoch, [\d,]+ in 6 epochs", shown)
    assert re.search(r"About [\d.]+ (s|min|h): .* 2 batches \([\d,]+ tokens, fp32\) on cpu with \d+ threads", shown)
    assert not (tmp_path / "run").exists()


def test_the_time_is_that_of_the_runs_precision(make_config, tiny_decoder, tmp_path):
    dtypes = set()

    def note(module, inputs, output):
        if isinstance(module, torch.nn.Linear):
            dtypes.add(output.dtype)

    with register_module_forward_hook(note):
        shown = dry_run(make_config(tiny_decoder, tmp_path / "run", precision="bf16"))
    assert "bf16" in shown
    assert dtypes == {torch.bfloat16}


def test_an_encoder_decoders_answer_is_a_sequence_of_its_own(make_config, tiny_seq2seq, tmp_path):
    config = make_config(tiny_seq2seq, tmp_path / "run", adapter={"rank": 2, "alpha": 4})
    shown = dry_run(config, n_episodes=1)
    assert shown.count("«") == shown.count("»") == 1
    assert re.search(r"Answer: «\[\[.*\]\]", shown.replace("\n", ""))
    assert "1 documents" in shown


def test_what_is_left_out_is_in_the_table(make_config, tiny_decoder, sentences, tmp_path):
    path = tmp_path / "more.jsonl"
    lines = (sentences / "train.jsonl").read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, f'{{"text": "{"long " * 300}", "triples": []}}', "bad"]), encoding="utf-8")
    source = {"sentences": path, "task": str(sentences / "task.yaml"), "skip_bad": True}
    config = make_config(tiny_decoder, tmp_path / "run", train=[source, source])
    shown = dry_run(config, n_episodes=0)
    assert re.search(r"bad records ┃ +too long", shown), shown
    assert re.search(r"more +│ +\d+ │ +24 │.*│ +25 │ +24 │ +1 │ +1", shown), shown
    assert re.search(r"all +│ +\d+ │ +48 │.*│ +50 │ +48 │ +2 │ +2", shown), shown


def test_the_command_needs_a_readable_config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("train: 3", encoding="utf-8")
    done = CliRunner().invoke(app, ["train", str(path), "--dry-run"])
    assert done.exit_code == 1


@pytest.mark.parametrize("option", ["--dry-run", "--episodes"])
def test_the_command_says_what_it_can(option):
    assert option in re.sub(r"\x1b\[[0-9;]*m", "", CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).stdout)
