"""Long documents: sentences, and windows of whole sentences within a token budget."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from genre_x.grounding import chunks

if TYPE_CHECKING:
    from spacy.language import Language

Range = tuple[int, int]
"""Half-open range of characters."""

_MOST_TOKENS = 4
"""Most tokens of one character: the bytes of its UTF-8 form."""
_BLANK_LINE = re.compile(r"\r?\n[ \t]*\r?\n")


class SentenceSplitter:
    """Finds sentences with spaCy's rule-based sentencizer, which knows the punctuation of many languages."""

    def __init__(self, language: str) -> None:
        """Choose a language.

        Args:
            language: ISO 639-1 code; languages that spaCy does not know are split by the multi-language rules.
        """
        self._language = language

    @cached_property
    def _nlp(self) -> "Language":
        import spacy
        from spacy.util import find_matching_language

        code = self._language.partition("-")[0].lower()
        try:
            nlp = spacy.blank(find_matching_language(code) or code)  # it knows only other names of a language, such as `deu`
        except ImportError:  # unknown, or its tokenizer needs packages of its own, as those of Japanese, Korean and Thai do
            # The Chinese tokenizer cuts at every character, so it finds a full stop that no space follows.
            nlp = spacy.blank("zh" if code in ("ja", "yue") else "xx")
        nlp.add_pipe("sentencizer")
        nlp.max_length = 1 << 31
        return nlp

    def split(self, text: str) -> list[Range]:
        """Sentences of `text` without surrounding white space, in order; a blank line ends a sentence, too."""
        sentences: list[Range] = []
        start = 0
        for end, following in [*(blank.span() for blank in _BLANK_LINE.finditer(text)), (len(text), len(text))]:
            sentences += [(start + s, start + e) for s, e in self._split_paragraph(text[start:end])]
            start = following
        return sentences

    def _split_paragraph(self, text: str) -> list[Range]:
        if not text.strip():
            return []
        found = [(sentence.start_char, sentence.end_char) for sentence in self._nlp(text).sents]
        trimmed = [(end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip())) for start, end in found]
        return [(start, end) for start, end in trimmed if start < end]


def windows(
    text: str,
    sentences: Sequence[Range],
    count_tokens: Callable[[str], int],
    *,
    max_tokens: int,
    aim_tokens: int | None = None,
    overlap: int = 1,
) -> list[Range]:
    """Cut a text into windows of whole sentences that do not run over the end of a paragraph (a blank line).

    Args:
        text: The document.
        sentences: In order, without overlap.
        count_tokens: Length of a piece of text.
        max_tokens: Longest window. A sentence that is longer alone is cut between words, each piece starting in the
            middle of the piece before it.
        aim_tokens: Sentences are put together up to this length; `max_tokens` by default.
        overlap: How many sentences a window repeats from the one before it, if they fit.

    Returns:
        Ranges that together cover every sentence.

    >>> windows("A b. C d. E f.", [(0, 4), (5, 9), (10, 14)], lambda piece: len(piece.split()), max_tokens=4, overlap=1)
    [(0, 9), (5, 14)]
    """
    pieces: list[Range] = []
    for start, end in sentences:
        pieces += _fitting(text, start, end, count_tokens, max_tokens)
    aim = min(max_tokens, aim_tokens or max_tokens)
    lengths = [count_tokens(text[start:end]) for start, end in pieces]

    def ends_paragraph(index: int) -> bool:
        return _BLANK_LINE.search(text, pieces[index][1], pieces[index + 1][0]) is not None

    found: list[Range] = []
    first = 0
    while first < len(pieces):
        last, total = first, lengths[first]
        while last + 1 < len(pieces) and total + lengths[last + 1] <= aim and not ends_paragraph(last):
            last += 1
            total += lengths[last]
        # The sum of the parts is close to the whole, not equal to it: white space between sentences has tokens, too.
        while last > first and count_tokens(text[pieces[first][0] : pieces[last][1]]) > aim:
            last -= 1
        found.append((pieces[first][0], pieces[last][1]))
        if last == len(pieces) - 1:
            break
        following = last + 1
        back = following
        while (
            back > first + 1
            and following - back < overlap
            and not ends_paragraph(back - 1)
            and sum(lengths[back - 1 : following + 1]) <= aim
        ):
            back -= 1
        first = back
    return found


def _fitting(text: str, start: int, end: int, count_tokens: Callable[[str], int], max_tokens: int) -> list[Range]:
    """A sentence, cut into pieces that fit the budget if it is too long."""
    if count_tokens(text[start:end]) <= max_tokens:
        return [(start, end)]
    limits = [
        limit
        for first, last in chunks(text[start:end])
        for limit in _limits(text, start + first, start + last, count_tokens, max_tokens)
    ]

    def fits(index: int) -> bool:
        return count_tokens(text[piece_start : limits[index]]) <= max_tokens

    pieces: list[Range] = []
    position = 0
    piece_start = start
    while True:
        low, step = position, 1  # the last limit that still fits: by doubling, then by bisection
        while low + step < len(limits) and fits(low + step):
            low, step = low + step, 2 * step
        high = min(low + step, len(limits)) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if fits(middle):
                low = middle
            else:
                high = middle - 1
        if not pieces or limits[low] > pieces[-1][1]:  # a long word may let nothing new into a piece
            pieces.append((piece_start, limits[low]))
        if low == len(limits) - 1:
            return pieces
        half = position + (low - position) // 2
        position, piece_start = half + 1, limits[half]


def _limits(text: str, start: int, end: int, count_tokens: Callable[[str], int], max_tokens: int) -> Iterator[int]:
    """Where a piece may end in a word: at its end, or also inside, if it is too long for a piece of its own."""
    if end - start <= max_tokens // _MOST_TOKENS or end - start == 1 or count_tokens(text[start:end]) <= max_tokens:
        yield end
        return
    middle = (start + end) // 2
    yield from _limits(text, start, middle, count_tokens, max_tokens)
    yield from _limits(text, middle, end, count_tokens, max_tokens)
