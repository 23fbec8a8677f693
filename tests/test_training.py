"""Real training runs of tiny random models: the loss falls and the output changes."""

import json
import random

import pytest
import torch

from genre_x import Extractor, GenerationConfig
from genre_x.backends.transformers import TransformersBackend
from genre_x.chat import encode_chat
from genre_x.datasets import load_sentences
from genre_x.errors import SchemaError
from genre_x.models import find_model, load_model
from genre_x.task import parse_task
from genre_x.training.config import TrainingConfig
from genre_x.training.encoding import IGNORED
from genre_x.training.encoding import encode_decoder as _encode_decoder
from genre_x.training.run import episode_builder, train

TASK = """
name: small
instruction: Extract.
relation_types:
  - {name: knows}
  - {name: likes}
examples: []
"""


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """A handful of sentences with a pattern that a tiny model can learn, and their task."""
    folder = tmp_path_factory.mktemp("sentences")
    (folder / "task.yaml").write_text(TASK, encoding="utf-8")
    names = ["Ada", "Bob", "Cy", "Di"]
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for head in names:
            for tail in names:
                if head != tail:
                    for verb in ("knows", "likes"):
                        record = {"text": f"{head} {verb} {tail}.", "triples": [[head, verb, tail]]}
                        file.write(json.dumps(record) + "\n")
    return folder


def config_of(sentences, model, output_dir, **changes):
    source = {"sentences": sentences / "train.jsonl", "task": str(sentences / "task.yaml")}
    values = {
        "model": str(model),
        "output_dir": output_dir,
        "train": [source],
        "dev": [{**source, "max_documents": 6}],
        "adapter": None,
        "episodes": {"max_tokens": 900, "max_documents": 2, "sample_schema": False},
        "optimizer": {"learning_rate": 5e-3, "epochs": 6, "batch_size": 4, "warmup_ratio": 0.1},
        "eval_steps": 9,
        "dev_documents": 4,
        "early_stopping_patience": None,
    }
    return TrainingConfig.model_validate({**values, **changes})


def losses(folder):
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))["log"]
    return [entry["eval_loss"] for entry in log if "eval_loss" in entry]


def answer(model, sentences, text):
    task = parse_task((sentences / "task.yaml").read_text(encoding="utf-8"))
    extractor = Extractor.from_task(
        task, backend=TransformersBackend(str(model), precision="float32"), config=GenerationConfig(max_new_tokens=80)
    )
    return extractor.extract(text).completions[0]


def test_all_weights_of_a_decoder(sentences, tiny_decoder, tmp_path):
    config = config_of(sentences, tiny_decoder, tmp_path / "run")
    folder = train(config)
    seen = losses(tmp_path / "run")
    assert len(seen) >= 2
    assert seen[-1] < 0.7 * seen[0]
    assert answer(folder, sentences, "Ada likes Di.") != answer(tiny_decoder, sentences, "Ada likes Di.")
    result = json.loads((tmp_path / "run" / "training.json").read_text(encoding="utf-8"))
    assert {"before", "after", "template", "versions", "duration_s"} <= result.keys()
    assert json.loads((folder / "genre_x.json").read_text(encoding="utf-8"))["template"] == result["template"]
    assert find_model(str(folder)).template == result["template"]


def test_an_adapter_of_a_decoder_is_small_and_loads_on_its_base(sentences, tiny_decoder, tmp_path):
    config = config_of(
        sentences, tiny_decoder, tmp_path / "run", adapter={"rank": 4, "alpha": 8, "dropout": 0.0}, precision="bf16"
    )
    folder = train(config)
    assert (folder / "adapter_model.safetensors").is_file()
    files = find_model(str(folder))
    assert files.adapter == folder
    assert files.base == str(tiny_decoder)
    base, _ = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    merged, _ = load_model(files, dtype=torch.float32)
    changed = [name for name, weight in merged.state_dict().items() if not torch.equal(weight, base.state_dict()[name])]
    assert changed
    assert all("proj" in name for name in changed)


def test_all_weights_of_an_encoder_decoder(sentences, tiny_seq2seq, tmp_path):
    config = config_of(sentences, tiny_seq2seq, tmp_path / "run", optimizer={"learning_rate": 1e-2, "epochs": 6})
    folder = train(config)
    seen = losses(tmp_path / "run")
    assert seen[-1] < 0.9 * seen[0]
    assert answer(folder, sentences, "Ada likes Di.") != answer(tiny_seq2seq, sentences, "Ada likes Di.")


def test_a_run_resumes_from_its_newest_checkpoint(sentences, tiny_decoder, tmp_path):
    short = {"learning_rate": 5e-3, "epochs": 3, "batch_size": 4, "warmup_ratio": 0.0}
    train(config_of(sentences, tiny_decoder, tmp_path / "run", eval_steps=3, optimizer=short))
    checkpoints = sorted((tmp_path / "run").glob("checkpoint-*"))
    assert checkpoints
    longer = {**short, "epochs": 4}
    train(config_of(sentences, tiny_decoder, tmp_path / "run", eval_steps=3, optimizer=longer), resume=True)
    log = json.loads((tmp_path / "run" / "training.json").read_text(encoding="utf-8"))["log"]
    steps = [entry["step"] for entry in log if "eval_loss" in entry]
    assert steps == [3, 6, 9, 12]  # 12 sequences, 3 steps an epoch: the first three come from the first run


def test_the_loss_is_on_the_answers_alone(sentences, tiny_decoder, tmp_path):
    config = config_of(sentences, tiny_decoder, tmp_path / "run")
    _, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    builder = episode_builder(config, tokenizer, single_document=False)
    source = load_sentences(sentences / "train.jsonl", sentences / "task.yaml")
    episodes = list(builder.build(source, random.Random(0)))
    assert sum(episode.n_documents for episode in episodes) == len(source.documents)
    record = _encode_decoder(tokenizer, episodes[0])
    kept = tokenizer.decode([label for label in record["labels"] if label != IGNORED])
    answers = [message.content for message in episodes[0].messages if message.role == "assistant"]
    assert kept == "".join(f"{answer}<|im_end|>" for answer in answers)


def test_training_and_inference_see_the_same_tokens(sentences, tiny_decoder, tmp_path):
    config = config_of(sentences, tiny_decoder, tmp_path / "run", episodes={"max_documents": 1, "sample_schema": False})
    _, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    builder = episode_builder(config, tokenizer, single_document=False)
    source = load_sentences(sentences / "train.jsonl", sentences / "task.yaml")
    episode = next(iter(builder.build(source, random.Random(0))))
    text = episode.messages[-2].content
    task = parse_task((sentences / "task.yaml").read_text(encoding="utf-8"))
    prompt = Extractor.from_task(task, backend=TransformersBackend(str(tiny_decoder))).prompt(text)
    trained = _encode_decoder(tokenizer, episode)
    n_prompt = next(index for index, label in enumerate(trained["labels"]) if label != IGNORED)
    assert trained["input_ids"][:n_prompt] == encode_chat(tokenizer, prompt.messages).ids


def test_sampled_schemas_leave_out_their_triples_and_keep_to_the_limits(sentences, tiny_decoder, tmp_path):
    config = config_of(
        sentences,
        tiny_decoder,
        tmp_path / "run",
        episodes={"max_tokens": 2000, "max_documents": 4, "max_relation_types": 1, "drop_rate": 0.0},
    )
    _, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    builder = episode_builder(config, tokenizer, single_document=False)
    source = load_sentences(sentences / "train.jsonl", sentences / "task.yaml")
    answers = set()
    for episode in builder.build(source, random.Random(1)):
        shown = {name for name in ("knows", "likes") if f"- {name}" in episode.messages[0].content}
        assert len(shown) == 1
        for message in episode.messages[2::2]:
            assert all(f'"{other}"' not in message.content for other in {"knows", "likes"} - shown)
            answers.add(message.content == "[]")
    assert answers == {True, False}


def test_a_config_needs_exactly_one_kind_of_source(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("output_dir: x\ntrain: [{task: general}]\ndev: [{dataset: d}]\n", encoding="utf-8")
    with pytest.raises(SchemaError, match="name either `dataset` or `sentences`") as error:
        TrainingConfig.load(path)
    assert "`dataset` needs a `split`" in str(error.value)
