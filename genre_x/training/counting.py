"""The length of a chat in tokens, counted without encoding the same content twice."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from genre_x.chat import encode_chat, encode_content
from genre_x.interfaces import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_N_REMEMBERED = 4096


class TokenCounter:
    """Counts the tokens of chats, exactly as `encode_chat` encodes them.

    Contents are encoded apart from the chat template around them, so a chat is as long as its frame, which depends on the
    roles alone, and its contents together.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        @lru_cache(maxsize=_N_REMEMBERED)
        def frame(roles: tuple[Message, ...]) -> int:
            return len(encode_chat(tokenizer, roles).ids)

        @lru_cache(maxsize=_N_REMEMBERED)
        def content(text: str) -> int:
            return len(encode_content(tokenizer, text))

        self._frame, self._content = frame, content

    def __call__(self, messages: Sequence[Message]) -> int:
        frame = self._frame(tuple(Message(message.role, "") for message in messages))
        return frame + sum(self._content(message.content) for message in messages)
