"""Real training runs of tiny random models, from the config to the run folder."""

import json
import logging
import random
import shutil
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from genre_x import Extractor, GenerationConfig
from genre_x.backends.transformers import TransformersBackend
from genre_x.chat import encode_chat
from genre_x.datasets import load_sentences
from genre_x.errors import SchemaError
from genre_x.models import METADATA_FILE, find_model, load_model, shrink_model
from genre_x.prompting import PromptTemplate
from genre_x.task import parse_task
from genre_x.training import record
from genre_x.training.callbacks import Stopping
from genre_x.training.config import AugmentationConfig, TrainingConfig
from genre_x.training.encoding import IGNORED, encode_decoder
from genre_x.training.plan import make_plan
from genre_x.training.run import episode_builder, train
from genre_x.training.scorer import DevScorer, generating, sample
from genre_x.training.selection import _is_scheduled
from genre_x.training.weights import average_weights, checkpoints

EMPTY = {"output_dir": "x", "train": [{"sentences": "s", "task": "general"}], "dev": [{"sentences": "s", "task": "general"}]}
SHORT = {"learning_rate": 5e-3, "epochs": 3, "batch_size": 4, "warmup_ratio": 0.0}  # 12 sequences, 3 steps an epoch


def result_of(folder):
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


def logged(folder, name):
    return [(entry["step"], entry[name]) for entry in result_of(folder)["log"] if name in entry]


def answer(model, sentences, text):
    task = parse_task((sentences / "task.yaml").read_text(encoding="utf-8"))
    extractor = Extractor.from_task(
        task, backend=TransformersBackend(str(model), precision="float32"), config=GenerationConfig(max_new_tokens=80)
    )
    return extractor.extract(text).completions[0]


def test_all_weights_of_a_decoder_and_the_run_folder(sentences, make_config, tiny_decoder, tmp_path):
    run = tmp_path / "run"
    config = make_config(tiny_decoder, run, select_by="f1", tensorboard=True, logging_steps=3, checkpoint_steps=6)
    folder = train(config)
    seen = [loss for _, loss in logged(run, "eval_loss")]
    assert len(seen) >= 2
    assert seen[-1] < 0.7 * seen[0]
    assert answer(folder, sentences, "Ada likes Di.") != answer(tiny_decoder, sentences, "Ada likes Di.")

    result = result_of(run)
    assert {"before", "after", "per_source", "template", "versions", "duration_s"} <= result.keys()
    assert result["n_trained_weights"] == result["n_weights"]
    assert find_model(str(folder)).template == result["template"]
    assert [step for step, _ in logged(run, "eval_f1")] == [9, 18]
    assert all(seconds > 0 for _, seconds in logged(run, "eval_f1_seconds"))
    rates = logged(run, "tokens_per_s")
    assert [step for step, _ in rates][:3] == [3, 6, 9]
    assert all(rate > 0 for _, rate in rates)
    assert {step for step, _ in logged(run, "minutes_left")} >= {3, 18}
    assert {path.name for path in checkpoints(run)} >= {"checkpoint-18"}

    assert TrainingConfig.load(run / "config.yaml") == config
    assert {"torch", "trl"} <= json.loads((run / "versions.json").read_text(encoding="utf-8"))["versions"].keys()
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "tensorboard").glob("events.*"))
    card = (run / "README.md").read_text(encoding="utf-8")
    assert card == (folder / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["base_model"]) == ("other", str(tiny_decoder))
    row = next(line for line in card.splitlines() if line.startswith("| train |"))
    (source,) = result["train_sources"]
    assert row == f"| train | 24 | 0 | {source['sequences']} | {source['tokens']} | not stated |"
    for part in (result["template"], "`rows`", "| all |", "| train (2) |", "learning_rate: 0.005", "## Limits"):
        assert part in card


def test_an_adapter_of_a_decoder_is_small_and_loads_on_its_base(make_config, tiny_decoder, tmp_path):
    adapter = {"rank": 4, "alpha": 8, "dropout": 0.0}
    config = make_config(tiny_decoder, tmp_path / "run", adapter=adapter, precision="bf16", select_by="f1", optimizer=SHORT)
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


def test_all_weights_of_an_encoder_decoder(sentences, make_config, tiny_seq2seq, tmp_path):
    optimizer = {"learning_rate": 1e-2, "epochs": 6}
    config = make_config(tiny_seq2seq, tmp_path / "run", optimizer=optimizer, select_by="f1", eval_steps=18)
    folder = train(config)
    seen = [loss for _, loss in logged(tmp_path / "run", "eval_loss")]
    assert seen[-1] < 0.9 * seen[0]
    assert logged(tmp_path / "run", "eval_f1")
    before, after = (load_file(path / "model.safetensors") for path in (tiny_seq2seq, folder))
    assert all(not torch.equal(before[name], after[name].float()) for name in before)
    assert answer(folder, sentences, "Ada likes Di.")


def test_an_interrupted_run_ends_as_an_uninterrupted_one(make_config, tiny_decoder, tmp_path, monkeypatch):
    options = {
        "optimizer": SHORT,
        "eval_steps": 4,
        "checkpoint_steps": 2,
        "logging_steps": 1,
        "select_by": "f1",
        "regularization": {"attention_dropout": 0.2, "neftune_alpha": 5},  # both draw random numbers
    }
    monkeypatch.setattr("genre_x.training.run._scores", fake_scores)
    train(make_config(tiny_decoder, tmp_path / "whole", **options))

    broken = make_config(tiny_decoder, tmp_path / "parts", **options)
    train(broken.model_copy(update={"max_minutes": 1e-9}))
    first = result_of(tmp_path / "parts")
    assert (first["n_steps"], first["selection"]["stopped_by"]) == (1, "max_minutes")
    assert [path.name for path in checkpoints(tmp_path / "parts")] == ["checkpoint-1"]

    def kill(self, args, state, control, **_):
        if state.global_step == 5:  # the newest checkpoint is that of step 4, in the middle of the second epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Stopping, "on_step_begin", kill)
        with pytest.raises(KeyboardInterrupt):
            train(broken, resume=True)
    assert checkpoints(tmp_path / "parts")[-1].name == "checkpoint-4"
    with pytest.raises(SchemaError, match="has checkpoints of an earlier run; use --resume"):
        train(broken)
    train(broken, resume=True)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_f1", "num_input_tokens_seen"):
        assert logged(whole, name) == logged(parts, name), name
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert result_of(parts)["selection"] == result_of(whole)["selection"]
    assert result_of(parts)["duration_s"] >= logged(parts, "seconds")[-1][1] > first["duration_s"]


def fake_scores(*_):
    """Instead of the scores before and after, which take most of a tiny run."""
    strict = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    return {"before": {"strict": strict, "n_documents": 0}, "after": {"strict": strict, "n_documents": 0}, "per_source": []}


def test_the_best_f1_decides_and_patience_stops(make_config, tiny_decoder, tmp_path, monkeypatch):
    found = iter([0.1, 0.3, 0.3, 0.2, 0.9])
    monkeypatch.setattr(DevScorer, "f1", lambda self, model: (next(found), 0.01))
    monkeypatch.setattr("genre_x.training.run._scores", fake_scores)
    run = tmp_path / "run"
    folder = train(make_config(tiny_decoder, run, optimizer=SHORT, eval_steps=1, select_by="f1", early_stopping_patience=2))
    assert [score for _, score in logged(run, "eval_f1")] == [0.1, 0.3, 0.3, 0.2]
    selection = result_of(run)["selection"]
    assert (selection["kept"], selection["best_step"], selection["stopped_by"]) == ("best", 2, "early_stopping_patience")
    losses = dict(logged(run, "eval_loss"))
    assert min(losses, key=losses.get) != 2  # the loss would have chosen otherwise
    kept, best = load_file(folder / "model.safetensors"), load_file(run / "checkpoint-2" / "model.safetensors")
    assert all(torch.equal(kept[name], best[name].half()) for name in best)


@pytest.mark.parametrize(("scores", "kept"), [((0.2, 0.6), "average"), ((0.6, 0.2), "best")])
def test_the_average_of_the_last_checkpoints_is_kept_if_it_is_better(
    make_config, tiny_decoder, tmp_path, monkeypatch, scores, kept
):
    found = iter(scores)
    monkeypatch.setattr(DevScorer, "f1", lambda self, model: (next(found), 0.01))
    monkeypatch.setattr("genre_x.training.run._scores", fake_scores)
    run = tmp_path / "run"
    adapter = {"rank": 2} if kept == "average" else None
    config = make_config(tiny_decoder, run, optimizer=SHORT, eval_steps=3, adapter=adapter)
    folder = train(config.model_copy(update={"average_checkpoints": 2}))
    selection = result_of(run)["selection"]
    assert (selection["best_f1"], selection["average"]) == (scores[0], {"steps": [6, 9], "f1": scores[1]})
    assert selection["kept"] == kept
    name = "adapter_model.safetensors" if adapter else "model.safetensors"
    saved = load_file(folder / name)
    one, other = (load_file(run / f"checkpoint-{step}" / name) for step in (6, 9))
    averaged = average_weights([run / "checkpoint-6", run / "checkpoint-9"])
    for key in one:
        assert torch.allclose(averaged[key], (one[key] + other[key]) / 2, atol=1e-7)
    wanted = averaged if kept == "average" else load_file(run / f"checkpoint-{selection['best_step']}" / name)
    assert saved.keys() == wanted.keys()
    assert all(torch.equal(saved[key], wanted[key].half()) for key in wanted)
    assert "average of the checkpoints of steps 6, 9" in (run / "README.md").read_text(encoding="utf-8")


def test_generating_leaves_a_model_in_training_as_it_was(sentences, tiny_decoder, tmp_path):
    model, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    source = load_sentences(sentences / "train.jsonl", sentences / "task.yaml")
    scorer = DevScorer(sets=sample([source], 2, 0), tokenizer=tokenizer, template="re.v1", output_format="rows")
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    for layer in model.model.layers:
        layer.compile(backend=backend)
    model.train()
    attention, random_state = model.config._attn_implementation, torch.random.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    f1, seconds = scorer.f1(model)
    assert not compiled
    assert model.training
    assert all(module.training for module in model.modules())
    assert model.config._attn_implementation == attention
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    backend = TransformersBackend(str(tiny_decoder), precision="float32")
    assert f1 == scorer.result(backend, scorer.sets)["scores"]["strict"]["f1"]
    assert seconds > 0
    with pytest.raises(ValueError, match="broken"), generating(model):
        raise ValueError("broken")
    assert model.training


def test_a_sample_is_drawn_from_all_sets_and_keeps_their_order(sentences):
    source = load_sentences(sentences / "train.jsonl", sentences / "task.yaml")
    drawn = sample([source, source], 10, 3)
    ids = [[document.id for document in one.documents] for one in drawn]
    assert sum(map(len, ids)) == 10
    assert all(ids)
    everything = [document.id for document in source.documents]
    assert all(sorted(one, key=everything.index) == one for one in ids)
    assert drawn == sample([source, source], 10, 3)
    assert sample([source], 1000, 3) == [source]


def test_patience_that_had_run_out_stops_a_resumed_run_at_once_and_writes_nothing():
    stopping = Stopping(TrainingConfig.model_validate({**EMPTY, "early_stopping_patience": 2}))
    arguments = SimpleNamespace(metric_for_best_model="eval_f1", greater_is_better=True)
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    for values, stops in (([], False), ([0.5, 0.4], False), ([0.5, 0.4, 0.5], True)):
        state = SimpleNamespace(log_history=[{"eval_f1": value} for value in values], global_step=5, max_steps=9)
        stopping.on_step_end(arguments, state, control)
        assert (control.should_training_stop, control.should_save) == (stops, False)
    assert stopping.reason == "early_stopping_patience"


def test_checkpoints_that_a_time_limit_wrote_are_not_averaged():
    config = TrainingConfig.model_validate({**EMPTY, "eval_steps": 100, "checkpoint_steps": 35})
    trainer = SimpleNamespace(state=SimpleNamespace(global_step=287))
    steps = [step for step in (105, 140, 200, 250, 280, 287) if _is_scheduled(step, config, trainer)]
    assert steps == [105, 140, 200, 280, 287]


def test_all_faults_are_named_before_a_model_is_loaded(make_config, tiny_decoder, tmp_path, monkeypatch):
    monkeypatch.setattr("genre_x.training.run.load_model", lambda *_: pytest.fail("a model was loaded"))
    config = make_config(
        tiny_decoder,
        tmp_path / "run",
        template="re.v9",
        output_format="rowz",
        frozen=["layers:7"],
        regularization={"hidden_dropout": 0.1},
        dev=[{"sentences": tmp_path / "none.jsonl", "task": "general"}],
        episodes={"paraphrases": tmp_path / "typo.yaml"},
    )
    augmentation = AugmentationConfig(synonym_rate=0.1, synonyms=tmp_path / "typo.tsv")
    config = config.model_copy(update={"train": config.train.model_copy(update={"augmentation": augmentation})})
    with pytest.raises(SchemaError) as error:
        train(config)
    lines = str(error.value).splitlines()
    assert lines[0] == "The run can't start: 7 faults"
    assert [line.split(":")[0].strip(" -") for line in lines if line.startswith("  - ")] == [
        "template",
        "output_format",
        "dev",
        "episodes.paraphrases",
        f"synonyms {tmp_path / 'typo.tsv'}",
        "frozen",
        "regularization.hidden_dropout",
    ]


@pytest.fixture
def trained(tiny_decoder, tmp_path):
    """A folder with a model that says what it was fine-tuned with."""
    folder = tmp_path / "trained"
    shutil.copytree(tiny_decoder, folder)
    about = {"name": "trained", "template": PromptTemplate.load("re.v1").id, "output_format": "rows"}
    (folder / METADATA_FILE).write_text(json.dumps(about), encoding="utf-8")
    return folder


def test_another_template_or_format_than_the_models_is_said(make_config, trained, tmp_path, caplog):
    make_plan(make_config(trained, tmp_path / "a"), resume=False)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    make_plan(make_config(trained, tmp_path / "b", template="re.v2", output_format="mentions"), resume=False)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "Model 'trained' was fine-tuned with the template 're.v1', and will learn 're.v2' anew.",
        "Model 'trained' was fine-tuned with the output format 'rows', and will learn 'mentions' anew.",
    ]


def test_a_model_may_learn_another_template_and_is_scored_before_with_its_own(make_config, trained, tmp_path):
    changes = {"template": "re.v2", "output_format": "mentions", "episodes": {"max_tokens": 1800, "sample_schema": False}}
    target = train(make_config(trained, tmp_path / "run", optimizer=SHORT | {"epochs": 1}, **changes))
    assert result_of(tmp_path / "run")["before"]["n_documents"] == 2
    assert find_model(str(target)).template == PromptTemplate.load("re.v2").id
    about = json.loads((trained / METADATA_FILE).read_text(encoding="utf-8"))
    (trained / METADATA_FILE).write_text(json.dumps(about | {"template": "re.v1@00000000"}), encoding="utf-8")
    with pytest.raises(SchemaError, match=r"model: 'trained' was fine-tuned with the template 're\.v1@00000000', and here is"):
        make_plan(make_config(trained, tmp_path / "again"), resume=False)


def test_a_config_that_contradicts_itself_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "output_dir: x\ntrain: [{sentences: s, task: general}]\ndev: [{sentences: s, task: general}]\n"
        "frozen: [layers:1, layers:2]\n",
        encoding="utf-8",
    )
    with pytest.raises(SchemaError, match=r"`frozen` is for training the weights themselves.*names layers more than once"):
        TrainingConfig.load(path)
    path.write_text(
        "output_dir: x\ntrain: [{task: general}]\ndev: [{dataset: d}]\n"
        "optimizer: {schedule: warmup_stable_decay, warmup_ratio: 0.5, decay_ratio: 0.6}\n",
        encoding="utf-8",
    )
    with pytest.raises(SchemaError, match=r"warmup_ratio 0\.5 and decay_ratio 0\.6 are more than all steps"):
        TrainingConfig.load(path)


@pytest.mark.parametrize(
    ("gpu", "gpu_bf16", "amx", "expected"),
    [(False, False, False, "fp32"), (False, False, True, "bf16"), (True, False, True, "fp32"), (True, True, False, "bf16")],
)
def test_the_precision_that_suits_the_machine_is_in_the_config_at_once(monkeypatch, gpu, gpu_bf16, amx, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert TrainingConfig.model_validate(EMPTY).model_dump()["precision"] == expected
    assert TrainingConfig.model_validate({**EMPTY, "precision": "fp32"}).precision == "fp32"


def test_the_first_default_config_is_what_it_was():
    config = TrainingConfig.load("eval/configs/default.1.yaml")
    assert (config.select_by, config.frozen, config.adapter) == ("loss", ("embeddings",), None)
    optimizer = config.optimizer
    assert (optimizer.schedule, optimizer.beta1, optimizer.beta2, optimizer.epsilon) == ("cosine", 0.9, 0.999, 1e-8)
    assert config.regularization.model_dump(exclude_none=True) == {"label_smoothing": 0.0}
    assert (config.checkpoint_steps, config.average_checkpoints, config.max_minutes) == (None, None, None)


def test_without_matplotlib_there_is_a_message_instead_of_curves(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(record.importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert not record.draw_curves([{"step": 1, "loss": 1.0}], tmp_path / "curves.png")
    assert "pip install 'genre-x[eval]'" in caplog.text
    assert not (tmp_path / "curves.png").exists()


def test_the_loss_is_on_the_answers_alone(sentences, make_config, tiny_decoder, tmp_path):
    config = make_config(tiny_decoder, tmp_path / "run")
    _, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    builder = episode_builder(config, tokenizer, single_document=False)
    source = load_sentences(sentences / "train.jsonl", sentences / "task.yaml")
    episodes = list(builder.build(source, random.Random(0)))
    assert sum(episode.n_documents for episode in episodes) == len(source.documents)
    encoded = encode_decoder(tokenizer, episodes[0])
    kept = tokenizer.decode([label for label in encoded["labels"] if label != IGNORED])
    answers = [message.content for message in episodes[0].messages if message.role == "assistant"]
    assert kept == "".join(f"{answer}<|im_end|>" for answer in answers)


def test_training_and_inference_see_the_same_tokens(sentences, make_config, tiny_decoder, tmp_path):
    config = make_config(tiny_decoder, tmp_path / "run", episodes={"max_documents": 1, "sample_schema": False})
    _, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    builder = episode_builder(config, tokenizer, single_document=False)
    source = load_sentences(sentences / "train.jsonl", sentences / "task.yaml")
    episode = next(iter(builder.build(source, random.Random(0))))
    text = episode.messages[-2].content
    task = parse_task((sentences / "task.yaml").read_text(encoding="utf-8"))
    prompt = Extractor.from_task(task, backend=TransformersBackend(str(tiny_decoder))).prompt(text)
    trained = encode_decoder(tokenizer, episode)
    n_prompt = next(index for index, label in enumerate(trained["labels"]) if label != IGNORED)
    assert trained["input_ids"][:n_prompt] == encode_chat(tokenizer, prompt.messages).ids


def test_a_config_needs_exactly_one_kind_of_source(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("output_dir: x\ntrain: [{task: general}]\ndev: [{dataset: d}]\n", encoding="utf-8")
    with pytest.raises(SchemaError, match="name either") as error:
        TrainingConfig.load(path)
    assert "`dataset` needs a `split`" in str(error.value)


def test_a_mixture_that_can_not_be_read_is_one_fault_with_its_own_name(tmp_path):
    path, mixture = tmp_path / "c.yaml", tmp_path / "mix.yaml"
    mixture.write_text("sources: [", encoding="utf-8")
    for named, why in (
        (mixture, "expected the node content"),
        (tmp_path, "Is a directory"),
        (tmp_path / "no.yaml", "No such file"),
    ):
        path.write_text(f"output_dir: x\ntrain: {named}\ndev: [{{sentences: s, task: general}}]\n", encoding="utf-8")
        with pytest.raises(SchemaError, match=rf"c\.yaml.*\n  - train: .*can't read the mixture: (.|\n)*{why}"):
            TrainingConfig.load(path)
    with pytest.raises(SchemaError, match="Can't read"):
        TrainingConfig.load(tmp_path)


def test_an_adapter_on_a_model_that_is_stored_as_a_change_is_merged_and_the_card_says_so(
    make_config, tiny_decoder, tmp_path, monkeypatch
):
    tuned, small = tmp_path / "tuned", tmp_path / "small"
    model, tokenizer = load_model(find_model(str(tiny_decoder)), dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3)
    for part in (model, tokenizer):
        part.save_pretrained(tuned)
    shrink_model(str(tuned), small, base=str(tiny_decoder))
    monkeypatch.setattr("genre_x.training.run._scores", fake_scores)
    folder = train(make_config(small, tmp_path / "run", adapter={"rank": 2, "alpha": 4}, optimizer=SHORT | {"epochs": 1}))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert ("library_name: transformers" in card, "LoRA" in card) == (True, False)
    assert f"base_model: {tiny_decoder}" in card
    assert find_model(str(folder)).adapter is None
