"""From messages to token ids, the same way for training and for inference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2

from genre_x.interfaces import Message

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
    for text, role in _segments(tokenizer, messages):
        if role is None:
            piece = tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            piece = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        ids += piece
        in_answer += [role == "assistant" or (after_answer and index == 0) for index in range(len(piece))]
        after_answer = role == "assistant"
    if messages[-1].role == "assistant":
        end = len(in_answer) - in_answer[::-1].index(True)
        del ids[end:], in_answer[end:]
    return EncodedChat(ids, in_answer)


def _segments(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> list[tuple[str, str | None]]:
    """The rendered chat, cut into the template's own text (role None) and the contents (their role)."""
    marked = [
        {"role": message.role, "content": f"{_OPEN}{index}{_CLOSE}"} for index, message in enumerate(messages)
    ]
    template = tokenizer.chat_template or PLAIN_TEMPLATE
    asks = messages[-1].role != "assistant"

    def render(chat: list[dict[str, str]]) -> str:
        rendered = tokenizer.apply_chat_template(
            chat, chat_template=template, tokenize=False, add_generation_prompt=asks
        )
        return str(rendered)

    try:
        rendered = render(marked)
    except jinja2.TemplateError:  # templates without a system role, such as Gemma's, raise: the first user says it
        system, first, *rest = marked
        rendered = render([{"role": "user", "content": f"{system['content']}\n\n{first['content']}"}, *rest])
    segments: list[tuple[str, str | None]] = []
    for position, piece in enumerate(rendered.split(_OPEN)):
        if position == 0:
            segments.append((piece, None))
            continue
        index, _, static = piece.partition(_CLOSE)
        message = messages[int(index)]
        segments += [(message.content, message.role), (static, None)]
    return [(text, role) for text, role in segments if text]
