"""The trainers on tiny real models: each option changes what it says, and only that."""

import random

import pytest
import torch

from genre_x.backends.packed import PackedDecoder
from genre_x.errors import SchemaError
from genre_x.models import find_model, load_model
from genre_x.training.config import AdapterConfig, RegularizationConfig
from genre_x.training.encoding import IGNORED
from genre_x.training.parts import (
    adapter_targets,
    architecture_faults,
    base_of,
    dropout_options,
    freeze,
    layer_stacks,
    token_embeddings,
)
from genre_x.training.perturbation import add_noise
from genre_x.training.scorer import generating
from genre_x.training.trainer import SeededByLength, build_trainer, lora_config

STEPS = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-2, "warmup_ratio": 0.0}


@pytest.fixture(params=["decoder", "encoder-decoder"])
def model_folder(request, tiny_decoder, tiny_seq2seq):
    return tiny_decoder if request.param == "decoder" else tiny_seq2seq


def records(*, seq2seq, n=8, seed=0):
    """Random tokens; the last six are the answer."""
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        ids = [rng.randrange(250) for _ in range(rng.randrange(14, 20))]
        labels = ids[-6:] if seq2seq else [IGNORED] * (len(ids) - 6) + ids[-6:]
        made.append({"input_ids": ids[:-6] if seq2seq else ids, "labels": labels})
    return made


def loaded(folder, config):
    files = find_model(str(folder))
    architecture = load_model(files)[0].config
    options = dropout_options(config.regularization, architecture)
    model, tokenizer = load_model(files, dtype=torch.float32, **options)
    freeze(model, config.frozen)
    return model, tokenizer


@pytest.fixture
def make_trainer(make_config, tmp_path):
    def make(folder, **changes):
        config = make_config(folder, tmp_path / "run", **{"optimizer": STEPS, "eval_steps": 1000, **changes})
        torch.manual_seed(0)
        model, tokenizer = loaded(folder, config)
        data = records(seq2seq=model.config.is_encoder_decoder)
        return build_trainer(config, model, tokenizer, {"train": data, "dev": data[:2]})

    return make


def batch_of(trainer):
    return trainer.data_collator([trainer.train_dataset[place] for place in range(4)])


def weights_of(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def changed(before, after):
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_the_loss_is_that_of_the_model_and_smoothing_is_in_it(model_folder, make_trainer):
    rate = 0.2
    plain, smooth = make_trainer(model_folder), make_trainer(model_folder, regularization={"label_smoothing": rate})
    batch = batch_of(plain)
    outputs = plain.model(**batch)
    logits, labels = outputs.logits, batch["labels"]
    if not plain.model.config.is_encoder_decoder:
        logits, labels = logits[:, :-1], labels[:, 1:]
    logprobs = logits[labels != IGNORED].log_softmax(-1)
    nll = -logprobs.gather(1, labels[labels != IGNORED][:, None]).mean()
    plain.model.train()
    smooth.model.train()
    assert torch.allclose(plain.compute_loss(plain.model, batch), nll, atol=1e-5)
    assert torch.allclose(nll, outputs.loss, atol=1e-5)
    expected = (1 - rate) * nll - rate * logprobs.mean()
    assert torch.allclose(smooth.compute_loss(smooth.model, batch), expected, atol=1e-5)
    smooth.model.eval()
    assert torch.allclose(smooth.compute_loss(smooth.model, batch), nll, atol=1e-5)  # development losses stay comparable


def test_accumulated_batches_give_the_gradient_of_one_large_batch(model_folder, make_trainer):
    large = make_trainer(model_folder, optimizer={**STEPS, "batch_size": 8})
    small = make_trainer(model_folder, optimizer={**STEPS, "batch_size": 2, "gradient_accumulation_steps": 4})
    for trainer in (large, small):
        trainer.train()
    assert large.state.global_step == small.state.global_step == 1
    one, other = (
        next(entry for entry in trainer.state.log_history if "train_loss" in entry)["train_loss"] for trainer in (large, small)
    )
    assert one == pytest.approx(other, rel=1e-4)
    for name, tensor in large.model.state_dict().items():
        # Adam's first step is of the rate's size, in the direction of the sign, so a gradient of nearly zero may go either way.
        assert (tensor - small.model.state_dict()[name]).abs().mean() < 1e-4, name


def test_dropout_is_set_where_the_architecture_has_it(tiny_decoder, tiny_seq2seq, make_config, tmp_path):
    ids = torch.arange(20)[None]
    for folder, wanted, extra in (
        (tiny_decoder, {"attention_dropout": 0.5}, {}),
        (tiny_seq2seq, {"hidden_dropout": 0.5}, {"decoder_input_ids": ids}),
    ):
        for regularization, differs in (({}, False), (wanted, True)):
            model, _ = loaded(folder, make_config(folder, tmp_path, regularization=regularization))
            model.train()
            one, other = (model(input_ids=ids, **extra).logits for _ in range(2))
            assert torch.equal(one, other) != differs
    config = make_config(tiny_decoder, tmp_path, regularization={"hidden_dropout": 0.1}, frozen=["layers:9"])
    faults = architecture_faults(config, load_model(find_model(str(tiny_decoder)))[0].config)
    assert len(faults) == 2
    assert "`layers:9`, but llama has 2 layers" in faults[0]
    assert "hidden_dropout: llama has none" in faults[1]


@pytest.mark.parametrize("frozen", [(), ("embeddings",)])
def test_neftune_noise_acts_on_every_lookup_in_training_mode_only(model_folder, make_trainer, frozen):
    trainer = make_trainer(model_folder, frozen=frozen)
    batch = batch_of(trainer)
    trainer.model.eval()
    expected = trainer.compute_loss(trainer.model, batch)
    seen = []
    modules = token_embeddings(base_of(trainer.model))
    plain = [module.register_forward_hook(lambda _, args, output: seen.append(output.detach())) for module in modules]
    handles = add_noise(modules, 50.0)
    after = [module.register_forward_hook(lambda _, args, output: seen.append(output.detach())) for module in modules]
    assert torch.equal(trainer.compute_loss(trainer.model, batch), expected)
    seen.clear()
    trainer.model.train()
    assert not torch.allclose(trainer.compute_loss(trainer.model, batch), expected, atol=1e-3)
    assert len(seen) == 2 * len(modules) == (4 if trainer.model.config.is_encoder_decoder else 2)
    for clean, noisy in zip(seen[::2], seen[1::2], strict=True):
        most = 50.0 / (clean.shape[1] * clean.shape[2]) ** 0.5
        assert 0.5 * most < (noisy - clean).abs().max() <= most * 1.001
    for handle in [*plain, *handles, *after]:
        handle.remove()


def test_a_run_with_neftune_learns_other_weights_and_takes_the_noise_away(model_folder, make_trainer):
    without, with_noise = make_trainer(model_folder), make_trainer(model_folder, regularization={"neftune_alpha": 50})
    for trainer in (without, with_noise):
        trainer.train()
    assert changed(weights_of(without), weights_of(with_noise))
    assert not any(module._forward_hooks for module in token_embeddings(with_noise.model))


def gradients(trainer):
    return {name: one.grad.clone() for name, one in trainer.model.named_parameters() if one.grad is not None}


def test_fgm_adds_the_gradient_at_the_shifted_embeddings(tiny_decoder, make_trainer):
    epsilon = 0.7
    trainer = make_trainer(tiny_decoder, frozen=["embeddings"], regularization={"fgm_epsilon": epsilon})
    trainer.create_optimizer()
    batch = batch_of(trainer)
    trainer.training_step(trainer.model, batch, num_items_in_batch=torch.tensor(24))
    found = gradients(trainer)

    model = trainer.model
    model.zero_grad()
    labels = batch["labels"]

    def loss_at(embeddings):
        return model(inputs_embeds=embeddings, attention_mask=batch["attention_mask"], labels=labels).loss

    embeddings = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    clean = loss_at(embeddings)
    clean.backward()
    norms = embeddings.grad.flatten(1).norm(dim=1)[:, None, None]
    shifted = loss_at(embeddings.detach() + epsilon * embeddings.grad / norms)
    shifted.backward()
    assert shifted > clean
    expected = gradients(trainer)
    assert found.keys() == expected.keys()
    assert "model.embed_tokens.weight" not in found
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-4), name


@pytest.mark.parametrize("changes", [{}, {"frozen": ["embeddings"]}, {"adapter": {"rank": 4, "dropout": 0.0}}])
def test_fgm_raises_the_loss_of_its_second_pass(model_folder, make_trainer, changes):
    trainer = make_trainer(
        model_folder,
        regularization={"fgm_epsilon": 0.1},
        optimizer={**STEPS, "batch_size": 2, "gradient_accumulation_steps": 2},
        **changes,
    )
    losses = []
    compute = trainer.compute_loss

    def recorded(*args, **kwargs):
        loss = compute(*args, **kwargs)
        if trainer.model.training:
            losses.append(float(loss.detach()))
        return loss

    trainer.compute_loss = recorded
    before = weights_of(trainer)
    trainer.train()
    assert len(losses) == 8  # eight sequences, two in a pass, each twice
    assert all(second > first for first, second in zip(losses[::2], losses[1::2], strict=True))
    assert changed(before, weights_of(trainer))


def test_adamw_gets_its_settings_and_gradients_are_clipped(tiny_decoder, make_trainer):
    wanted = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.3, "max_grad_norm": 0.01}
    trainer = make_trainer(tiny_decoder, optimizer={**STEPS, **wanted})
    optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.3, 0.0}  # none on norms
    assert all(group["betas"] == (0.8, 0.95) and group["eps"] == 1e-6 for group in optimizer.param_groups)
    norms = []
    optimizer.register_step_pre_hook(
        lambda one, args, kwargs: norms.append(
            torch.stack([p.grad.norm() for group in one.param_groups for p in group["params"]]).norm()
        )
    )
    trainer.train()
    assert norms
    assert max(norms) <= 0.0101


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", {0: 0.0, 5: 0.5, 10: 1.0, 55: 0.5, 100: 0.0}),
        ("cosine", {0: 0.0, 10: 1.0, 55: 0.5, 100: 0.0}),
        ("constant", {0: 0.0, 5: 0.5, 10: 1.0, 55: 1.0, 100: 1.0}),
        ("warmup_stable_decay", {0: 0.0, 10: 1.0, 70: 1.0, 85: 1 - 0.5**0.5, 100: 0.0}),
    ],
)
def test_schedules(tiny_decoder, make_trainer, schedule, expected):
    optimizer = {**STEPS, "batch_size": 1, "epochs": 12.5, "schedule": schedule, "warmup_ratio": 0.1, "decay_ratio": 0.3}
    trainer = make_trainer(tiny_decoder, optimizer=optimizer)
    trainer.create_optimizer_and_scheduler(num_training_steps=100)
    rates = []
    for _ in range(101):
        rates.append(trainer.lr_scheduler.get_last_lr()[0] / STEPS["learning_rate"])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    for step, rate in expected.items():
        assert rates[step] == pytest.approx(rate, abs=1e-6), step


def test_frozen_parts_stay_as_they_are(model_folder, make_trainer):
    trainer = make_trainer(model_folder, frozen=["embeddings", "layers:1"])
    before = weights_of(trainer)
    trainer.train()
    moved = changed(before, weights_of(trainer))
    lowest = [f"{prefix}.0." for prefix, _ in layer_stacks(trainer.model)]
    highest = [f"{prefix}.1." for prefix, _ in layer_stacks(trainer.model)]
    assert len(lowest) == (2 if trainer.model.config.is_encoder_decoder else 1)
    assert not any(name.startswith(prefix) for name in moved for prefix in lowest)
    assert not any("embed_tokens" in name or "shared" in name for name in moved)
    for prefix in highest:
        assert any(name.startswith(prefix) for name in moved)


def test_freezing_everything_is_refused(tiny_decoder):
    model, _ = load_model(find_model(str(tiny_decoder)))
    model.model.norm.requires_grad_(False)
    model.lm_head.requires_grad_(False)
    with pytest.raises(SchemaError, match="leaves no weights to train"):
        freeze(model, ["embeddings", "layers:2"])


def test_an_adapter_is_where_the_config_says(tiny_decoder, tiny_seq2seq, make_trainer):
    for folder, module, places in (
        (tiny_decoder, "q_proj", ["model.layers.1.self_attn.q_proj"]),
        (tiny_seq2seq, "q", ["encoder.block.1.layer.0.SelfAttention.q", "decoder.block.1.layer.0.SelfAttention.q"]),
    ):
        adapter = {"rank": 4, "target_modules": [module], "layers": [1]}
        trainer = make_trainer(folder, adapter=adapter)
        names = [name for name, one in trainer.model.named_parameters() if one.requires_grad]
        assert all(".1." in name and f".{module}.lora_" in name for name in names)
        for place in places:
            assert any(place in name for name in names)
        before = weights_of(trainer)
        trainer.train()
        moved = changed(before, weights_of(trainer))
        assert moved
        assert moved <= set(names)


def test_an_adapter_for_modules_that_are_not_there_is_refused(tiny_decoder):
    model, _ = load_model(find_model(str(tiny_decoder)))
    with pytest.raises(SchemaError, match=r"target_modules: query; the layers have: down_proj, gate_proj"):
        adapter_targets(model, AdapterConfig(target_modules=("query",)))
    config = lora_config(model, AdapterConfig(rank=3, alpha=5, dropout=0.25))
    assert (config.r, config.lora_alpha, config.lora_dropout, config.target_modules) == (3, 5, 0.25, "all-linear")


def test_generation_leaves_mixed_precision_aside_and_puts_it_back(tiny_decoder, make_trainer):
    trainer = make_trainer(tiny_decoder, precision="bf16")
    trainer.train()
    ids = torch.arange(20)[None]
    mixed = trainer.model(ids).logits
    with generating(trainer.model) as base, torch.no_grad():
        exact = base.eval()(ids).logits
        assert PackedDecoder.for_model(base) is not None
    assert not torch.equal(mixed, exact)
    assert torch.allclose(mixed, exact, atol=0.3)
    assert torch.equal(trainer.model(ids).logits, mixed)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone(tiny_decoder, make_trainer):
    trainer = make_trainer(tiny_decoder)
    sampler = SeededByLength(2, [len(record["input_ids"]) for record in records(seq2seq=False, n=40)], trainer)

    def order(epoch):
        trainer.state.epoch = epoch
        torch.rand(3)
        return list(sampler)

    assert order(1.0) == order(1.4) == order(1.9)
    assert sorted(order(0.0)) == list(range(40))
    assert order(0.0) != order(1.0)


def test_regularization_is_off_unless_asked_for():
    assert RegularizationConfig().model_dump(exclude_none=True) == {"label_smoothing": 0.0}
