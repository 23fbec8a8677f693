"""From strings to spans: where a mention can begin and end, and which occurrence of a string is meant.

One definition of a mention's limits serves the constraint and the grounding, so what the constraint admits can always be
found in the text.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import regex

from genre_x.document import Mention

# Scripts written without spaces, and Hangul, whose particles are glued to nouns: any character can end a mention there.
_UNSPACED = "".join(
    rf"\p{{Script={script}}}"
    for script in ("Han", "Hiragana", "Katakana", "Hangul", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Bopomofo")
)
# What `str.strip` removes; `\s` alone leaves out four control characters.
_SPACE = r"[\s\x1c-\x1f]+"
_LETTER = rf"[\p{{L}}--[{_UNSPACED}]]"
_WORD = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_UNSPACED}]]+"
# As American newspapers shorten states, companies, people and months.
_SHORT_FORMS = (
    "Ala|Ariz|Ark|Calif|Colo|Conn|Del|Fla|Ga|Ill|Ind|Kan|Ky|La|Md|Mass|Mich|Minn|Miss|Mo|Mont|Neb|Nev|Okla|Ore|Pa|Tenn|Tex|Va"
    "|Vt|Wash|Wis|Wyo|Bros|Co|Corp|Inc|Ltd|Jr|Sr|Jan|Feb|Mar|Apr|Aug|Sept|Oct|Nov|Dec"
)
# A dot belongs to its word where it can't end a sentence: in `U.S.`, before a comma and its like, after a short form where
# the sentence goes on. Elsewhere ("She lives in Gary, Ind.", "She called Mo.") a mention may end before it or behind it.
_LETTERS_WITH_DOTS = rf"(?<!\p{{L}}\.)(?:{_LETTER}\p{{M}}*\.){{2,}}+(?!{_WORD})"
_SHORT_FORM = rf"(?:{_SHORT_FORMS})\.(?=\s?[\p{{Ll}}\p{{N}}(])"
_WORD_AND_DOT = rf"{_WORD}(?:(?<=\p{{L}})\.(?=\s?[,;:]|\s?['’]s\b))?"
_PLAIN_CHUNK = regex.compile(rf"(?V1){_SPACE}|{_WORD}|\X")
_CHUNK = regex.compile(rf"(?V1){_SPACE}|{_LETTERS_WITH_DOTS}|{_SHORT_FORM}|{_WORD_AND_DOT}|\X")
_SURROGATE = regex.compile("[\ud800-\udfff]")

Finder = Callable[[str, str | None], list[tuple[int, int]]]
"""From a string, and the name of its type or None for a literal or untyped span, to the spans it may stand for."""


def readable(text: str) -> str:
    """`text` with lone surrogates, which no tokenizer can encode, replaced one by one; offsets stay as they are."""
    return str(_SURROGATE.sub("\ufffd", text))


def chunks(text: str) -> list[tuple[int, int]]:
    """Cut `text` into the pieces that mentions are made of.

    Pieces are words, single characters of scripts without spaces, punctuation marks, and runs of white space; a base
    character keeps its combining marks, and an abbreviation its dot where no sentence can end.

    Returns:
        Half-open character ranges that cover the text.

    >>> text = "Bob's 東京 trip"
    >>> [text[start:end] for start, end in chunks(text)]
    ['Bob', "'", 's', ' ', '東', '京', ' ', 'trip']
    >>> text = "Gary, Ind., U.S."
    >>> [text[start:end] for start, end in chunks(text)]
    ['Gary', ',', ' ', 'Ind.', ',', ' ', 'U.S.']
    """
    return [match.span() for match in _CHUNK.finditer(text)]


def normalized(fragment: str) -> str:
    """`fragment` as the constraint spells it: every run of white space is one space, none at the ends."""
    return regex.sub(_SPACE, " ", fragment).strip(" ")


def occurrences(text: str, fragment: str) -> list[tuple[int, int]]:
    r"""All places in `text` where `fragment` stands as whole chunks; runs of white space match each other.

    Only if there is none, an abbreviation without its dot counts, too.

    >>> occurrences("Ana ate a banana. Ana\nMaria too.", "Ana")
    [(0, 3), (18, 21)]
    >>> occurrences("Ana\nMaria", "Ana Maria")
    [(0, 9)]
    >>> occurrences("Ada left Acme Inc. in May.", "Acme Inc")
    [(9, 17)]
    """
    words = normalized(fragment).split(" ")
    if words == [""]:
        return []
    pattern = regex.compile(_SPACE.join(regex.escape(word, special_only=True) for word in words))
    found = [match.span() for match in pattern.finditer(text, overlapped=True)]
    if not found:
        return []
    for chunk in (_CHUNK, _PLAIN_CHUNK):
        limits = {limit for match in chunk.finditer(text) for limit in match.span()}
        if whole := [(start, end) for start, end in found if start in limits and end in limits]:
            return whole
    return []


def nearest_pair(
    heads: Sequence[tuple[int, int]], tails: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Choose which occurrences of head and tail are meant: the two that stand nearest to each other.

    A sentence usually names both arguments of a relation side by side, so the pair with the fewest characters between
    them is taken; a pair that overlaps comes last, then the first in the text decides. One span can't be both.

    Returns:
        The spans of head and tail, or None if there is no pair of two different spans.

    >>> nearest_pair([(0, 3), (40, 43)], [(50, 54)])
    ((40, 43), (50, 54))
    """

    def distance(pair: tuple[tuple[int, int], tuple[int, int]]) -> tuple[bool, int, int]:
        (head_start, head_end), (tail_start, tail_end) = pair
        gap = max(head_start, tail_start) - min(head_end, tail_end)
        return gap < 0, gap, min(head_start, tail_start)

    pairs = [(head, tail) for head, tail in product(heads, tails) if head != tail]
    return min(pairs, key=distance, default=None)


def finder(text: str, mentions: Iterable[Mention] | None = None, written: Iterable[str] = ()) -> Finder:
    """A function that finds the spans a string may stand for.

    Args:
        text: The document.
        mentions: If given, only these spans are entities; a mention without type has every type.
        written: All heads and tails of the answer. A string that stands alone and inside a longer one of them means the
            places where it stands alone.

    >>> find = finder("Peripheral neuropathy stopped it, and neuropathy may last.", written=["Peripheral neuropathy"])
    >>> find("neuropathy", None)
    [(38, 48)]
    """
    given = None if mentions is None else tuple(mentions)
    names = {normalized(name) for name in written}

    def find(fragment: str, type_name: str | None) -> list[tuple[int, int]]:
        wanted = normalized(fragment)
        if given is None or type_name is None:
            found = occurrences(text, fragment)
        else:
            found = [m.span for m in given if normalized(m.text) == wanted and m.type in (None, type_name)]
        if len(found) < 2:
            return found
        longer = [span for name in names if wanted in name and name != wanted for span in occurrences(text, name)]
        alone = [span for span in found if not any(start <= span[0] and span[1] <= end for start, end in longer)]
        return alone or found

    return find
