"""Texts that a source gives as tokens."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from genre_x.document import Mention
from genre_x.errors import DataError


class TokenRange(NamedTuple):
    """Where a source says that a mention stands.

    Attributes:
        field: What messages call it, such as `entities[3]`.
        start: First token.
        end: The token after the last one.
        label: The source's label for its type, if it has one.
    """

    field: str
    start: int
    end: int
    label: str | None = None


class TokenText:
    """A text made from tokens, joined by one space each, that knows where every token stands.

    >>> text = TokenText(["Ada", "lives", "here", "."])
    >>> text.text
    'Ada lives here .'
    >>> text.mentions([TokenRange("entities[0]", 1, 3, "X")])
    [Mention(start_char=4, end_char=14, text='lives here', type='X')]
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.text = " ".join(tokens)
        ends = list(accumulate(len(token) + 1 for token in tokens))
        self._spans = [(end - len(token) - 1, end - 1) for token, end in zip(tokens, ends, strict=True)]

    def mentions(self, ranges: Iterable[TokenRange]) -> list[Mention]:
        """The mentions of ranges of tokens.

        Raises:
            DataError: There are no such tokens; the error has all faults.
        """
        mentions, faults = [], []
        for field, start, end, label in ranges:
            if 0 <= start < end <= len(self._spans):
                start_char, end_char = self._spans[start][0], self._spans[end - 1][1]
                mentions.append(Mention(start_char, end_char, self.text[start_char:end_char], label))
            else:
                faults.append(f"{field}: tokens [{start}, {end}) are no range of its {len(self._spans)} tokens")
        if faults:
            raise DataError("; ".join(faults), faults=faults)
        return mentions
