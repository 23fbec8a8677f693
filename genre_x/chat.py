"""From messages to token ids and back, the same way for training and for inference, and for all backends."""

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2

from genre_x.grounding import readable
from genre_x.interfaces import Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Private-use characters that stand for the contents while the chat template is rendered.
_OPEN, _CLOSE = "\ue000", "\ue001"

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content }}\n\n{% endif %}"
    "{% if message.role == 'user' %}Text: {{ message.content }}\nAnswer: {% endif %}"
    "{% if message.role == 'assistant' %}{{ message.content }}{{ eos_token }}\n\n{% endif %}"
    "{% endfor %}"
)
"""Chat template for models that come without one, such as base models and T5."""


@dataclass(frozen=True, slots=True)
class EncodedChat:
    """Token ids of a chat.

    Attributes:
        ids: Shape (n_tokens,).
        in_answer: For each token, whether it belongs to an assistant's message or ends one.
    """

    ids: list[int]
    in_answer: list[bool]


def encode_chat(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> EncodedChat:
    """Encode a chat.

    If the last message is not the assistant's, the ids end where its answer begins; otherwise they end with the token
    that ends its answer. The contents are encoded apart from the template around them, without special tokens: a document
    that contains `<|im_end|>` is just text.
    """
    ids: list[int] = []
    in_answer: list[bool] = []
    after_answer = False
    for piece, index in _encoded_segments(tokenizer, messages):
        answers = index is not None and messages[index].role == "assistant"
        ids += piece
        in_answer += [answers or (after_answer and position == 0) for position in range(len(piece))]
        after_answer = answers
    if messages[-1].role == "assistant":
        end = len(in_answer) - in_answer[::-1].index(True)
        del ids[end:], in_answer[end:]
    return EncodedChat(ids, in_answer)


def _encoded_segments(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[tuple[list[int], int | None]]:
    """The chat as pieces of token ids: the template's own text (index None) and the contents (index of the message)."""
    pieces: list[tuple[list[int], int | None]] = []
    for text, index in _segments(tokenizer, messages):
        if index is None:
            pieces.append((tokenizer(text, add_special_tokens=False)["input_ids"], None))
        else:
            pieces.append((encode_content(tokenizer, messages[index].content), index))
    return pieces


def _segments(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[tuple[str, int | None]]:
    """The rendered chat, cut into the template's own text (index None) and the places of the contents."""
    marked = [{"role": message.role, "content": f"{_OPEN}{index}{_CLOSE}"} for index, message in enumerate(messages)]
    template = tokenizer.chat_template or PLAIN_TEMPLATE
    asks = messages[-1].role != "assistant"

    def render(chat: list[dict[str, str]]) -> str:
        rendered = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=asks)
        return str(rendered)

    try:
        rendered = render(marked)
    except jinja2.TemplateError:  # templates without a system role, such as Gemma's, raise: the first user says it
        system, first, *rest = marked
        rendered = render([{"role": "user", "content": f"{system['content']}\n\n{first['content']}"}, *rest])
    first_static, *others = rendered.split(_OPEN)
    segments: list[tuple[str, int | None]] = [(first_static, None)]
    for piece in others:
        index, _, static = piece.partition(_CLOSE)
        segments += [("", int(index)), (static, None)]
    return [(text, index) for text, index in segments if text or index is not None]


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """The token ids around the last message of a chat: all that prompts of one task share.

    Attributes:
        before: Ids up to the last message's content.
        after: Ids from there to where the answer begins.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]


def encode_frame(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> ChatFrame:
    """Encode a chat without the content of its last message, which must not be the assistant's.

    `before`, the encoded content and `after` together are what `encode_chat` gives for the whole chat.
    """
    shorter = [*messages[:-1], Message(messages[-1].role, "")]
    pieces = _encoded_segments(tokenizer, shorter)
    last = max(position for position, (_, index) in enumerate(pieces) if index == len(shorter) - 1)
    before = [token for ids, _ in pieces[:last] for token in ids]
    after = [token for ids, _ in pieces[last + 1 :] for token in ids]
    return ChatFrame(tuple(before), tuple(after))


def encode_content(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Encode a message's content: special tokens in it are just text."""
    if not text:
        return []
    ids: list[int] = tokenizer(readable(text), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


class PromptEncoder:
    """Encodes prompts; what all prompts of a task share is encoded once."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._frames: dict[tuple[Message, ...], ChatFrame] = {}

    def frame(self, prompt: Prompt) -> ChatFrame:
        """The ids around the last message's content."""
        start = prompt.messages[:-1]
        frame = self._frames.get(start)
        if frame is None:
            frame = encode_frame(self._tokenizer, prompt.messages)
            self._frames = {start: frame}  # one task at a time is the rule; keeping more would grow without bound
        return frame

    def encode(self, prompt: Prompt) -> list[int]:
        """All ids of a prompt."""
        frame = self.frame(prompt)
        return [*frame.before, *encode_content(self._tokenizer, prompt.messages[-1].content), *frame.after]

    def count_tokens(self, text: str) -> int:
        """How many tokens a message's content takes."""
        return len(encode_content(self._tokenizer, text))


def spell(tokens: Sequence[int], bytes_of: Callable[[list[int]], bytes]) -> tuple[str, tuple[int, ...]]:
    """The text of some tokens, and for each token how many characters are complete after it.

    Args:
        tokens: A character may be spread over several of them.
        bytes_of: Decodes token ids.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text, ends = "", []
    for token in tokens:
        text += decoder.decode(bytes_of([token]))
        ends.append(len(text))
    return text + decoder.decode(b"", final=True), tuple(ends)
