"""Back-translation: a document in other words, from a function that the user has.

Sennrich et al. 2016, https://aclanthology.org/P16-1009/. Mentions are protected by placeholders, as in Yaseen and Langer 2021,
https://arxiv.org/abs/2108.11703.
"""

import importlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from genre_x.document import Document, Mention
from genre_x.errors import DataError, SchemaError
from genre_x.training.schemas import is_grounded

Translate = Callable[[list[str]], list[str]]

_PLACEHOLDER = re.compile(r"ENTITY(\d+)(?!\d)")


def find_function(dotted: str) -> Translate:
    """The function that a path such as `module:function` names.

    Raises:
        SchemaError: There is none.
    """
    module, _, name = dotted.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SchemaError(f"`back_translation` names {dotted!r}, but: {error}.") from error
    if not callable(found):
        raise SchemaError(f"`back_translation` names {dotted!r}, which is {found!r:.80} and can't be called.")
    translate: Translate = found
    return translate


def back_translated(
    documents: Sequence[Document], function: str, rate: float, rng: random.Random
) -> tuple[tuple[Document, ...], int]:
    """The documents, some of them in their back-translation.

    Args:
        documents: Annotated.
        function: `module:function`; it is called once, with the texts of all that are chosen.
        rate: Share of the documents that is chosen.
        rng: Chooses.

    Returns:
        The documents in their order, and how many chosen ones were left as they were, since a mention did not come back
        exactly once.

    Raises:
        SchemaError: There is no such function.
        DataError: It did not give one text for each.
    """
    translate = find_function(function)
    chosen = sorted(rng.sample(range(len(documents)), round(rate * len(documents))))
    found = list(documents)
    kept = [(place, masked) for place in chosen if (masked := _masked(documents[place])) is not None]
    texts = translate([text for _, (text, _) in kept]) if kept else []
    if len(texts) != len(kept):
        raise DataError(f"{function} gave {len(texts)} texts for {len(kept)}; it must give one for each, in their order.")
    n_left = len(chosen) - len(kept)
    for (place, (_, regions)), text in zip(kept, texts, strict=True):
        restored = _restored(documents[place], regions, text)
        if restored is None:
            n_left += 1
        else:
            found[place] = restored
    return tuple(found), n_left


def _masked(document: Document) -> tuple[str, list[tuple[int, int]]] | None:
    """The text with a placeholder for each region that has mentions, and the regions; None if it has one already."""
    if _PLACEHOLDER.search(document.text):
        return None
    regions: list[tuple[int, int]] = []
    for start, end in sorted({mention.span for mention in document.annotated_mentions}):
        if regions and start < regions[-1][1]:  # nested and overlapping mentions come back together
            regions[-1] = (regions[-1][0], max(end, regions[-1][1]))
        else:
            regions.append((start, end))
    pieces, last = [], 0
    for number, (start, end) in enumerate(regions):
        pieces += [document.text[last:start], f"ENTITY{number}"]
        last = end
    return "".join([*pieces, document.text[last:]]), regions


def _restored(document: Document, regions: Sequence[tuple[int, int]], text: str) -> Document | None:
    """`document` with the translated text; None if a placeholder is missing or repeated, or a mention has no clear limits."""
    places = list(_PLACEHOLDER.finditer(text))
    if sorted(int(match[1]) for match in places) != list(range(len(regions))) or not text.strip():
        return None
    starts: dict[int, int] = {}
    restored, last = "", 0
    for match in places:
        number = int(match[1])
        restored += text[last : match.start()]
        starts[number] = len(restored)
        restored += document.text[slice(*regions[number])]
        last = match.end()
    restored += text[last:]

    def moved(mention: Mention) -> Mention:
        number, (start, _) = next((n, r) for n, r in enumerate(regions) if r[0] <= mention.start_char < r[1])
        return mention.shifted(starts[number] - start)

    triples = tuple(
        replace(triple, head=moved(triple.head), tail=moved(triple.tail), evidence=None) for triple in document.triples or ()
    )
    mentions = None if document.mentions is None else tuple(sorted(moved(mention) for mention in document.mentions))
    made = Document(document.id, restored, mentions, triples, document.language)
    return made if is_grounded(made, triples) or not is_grounded(document, document.triples or ()) else None
