"""What is wrong with wrong triples: one class for every false positive and every false negative.

A false positive and a false negative (strict) of the same document that resemble each other make a pair; the pair is one
error with two sides. Pairs are made one to one, in this order, so each triple is in at most one:

1. `wrong_type`: the same relation and spans, another type.
2. `flipped`: the same relation, head and tail exchanged.
3. `wrong_relation`: the same two spans, in either order, with another relation.
4. `wrong_span`: the same relation, and both arguments overlap with those of the other triple; the most overlap first.

What stays alone is `spurious` (predicted) or `missed` (gold). A predicted triple with a mention that does not stand in the
text where it says is `invented`, and in no pair.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, get_args

from genre_x.document import Document, Mention, Triple
from genre_x.scoring import triple_key

PairClass = Literal["wrong_type", "flipped", "wrong_relation", "wrong_span"]
PAIR_CLASSES: tuple[PairClass, ...] = get_args(PairClass)
ErrorClass = PairClass | Literal["spurious", "missed", "invented"]
FALSE_POSITIVE_CLASSES: tuple[ErrorClass, ...] = (*PAIR_CLASSES, "spurious", "invented")
FALSE_NEGATIVE_CLASSES: tuple[ErrorClass, ...] = (*PAIR_CLASSES, "missed")


@dataclass(frozen=True, slots=True)
class Fault:
    """One error.

    Attributes:
        pred: The false positive; None for a missed triple.
        gold: The false negative; None for a spurious or invented triple.
    """

    error: ErrorClass
    pred: Triple | None
    gold: Triple | None


def diagnose(document: Document, triples: Iterable[Triple], symmetric: AbstractSet[str] = frozenset()) -> list[Fault]:
    """The errors among the triples predicted for one document.

    Args:
        document: With its gold triples.
        triples: What was predicted for it.
        symmetric: Relations whose triples match in both directions.

    Returns:
        Pairs, then spurious, invented and missed triples.
    """
    wanted = {triple_key(triple, "strict", symmetric): triple for triple in document.triples or ()}
    found = {triple_key(triple, "strict", symmetric): triple for triple in triples}
    wrong = [triple for key, triple in found.items() if key not in wanted]
    missed = [triple for key, triple in wanted.items() if key not in found]
    invented = [triple for triple in wrong if not _stands_in(document.text, triple)]
    wrong = [triple for triple in wrong if _stands_in(document.text, triple)]
    candidates = []
    for i, pred in enumerate(wrong):
        for j, gold in enumerate(missed):
            error = _pair_class(pred, gold, symmetric)
            if error is not None:
                overlap = max(_overlaps(pred, gold, symmetric), default=0)
                candidates.append((PAIR_CLASSES.index(error), -overlap, i, j, error))
    faults: list[Fault] = []
    paired_wrong: set[int] = set()
    paired_missed: set[int] = set()
    for _, _, i, j, error in sorted(candidates):
        if i not in paired_wrong and j not in paired_missed:
            paired_wrong.add(i)
            paired_missed.add(j)
            faults.append(Fault(error, wrong[i], missed[j]))
    faults += [Fault("spurious", triple, None) for i, triple in enumerate(wrong) if i not in paired_wrong]
    faults += [Fault("invented", triple, None) for triple in invented]
    faults += [Fault("missed", None, triple) for j, triple in enumerate(missed) if j not in paired_missed]
    return faults


def tally(faults: Iterable[Fault], *, n_unanchored: int = 0) -> dict[str, dict[str, int]]:
    """How many errors of each class there are, by side.

    Args:
        faults: From `diagnose`.
        n_unanchored: Gold triples that no span stands for; each is missed.

    Returns:
        `false_positives` and `false_negatives`, each with a number for every class that it can have.
    """
    counts = Counter(fault.error for fault in faults)
    counts["missed"] += n_unanchored
    return {
        "false_positives": {name: counts[name] for name in FALSE_POSITIVE_CLASSES},
        "false_negatives": {name: counts[name] for name in FALSE_NEGATIVE_CLASSES},
    }


def _pair_class(pred: Triple, gold: Triple, symmetric: AbstractSet[str]) -> PairClass | None:
    same_order = (pred.head.span, pred.tail.span) == (gold.head.span, gold.tail.span)
    other_order = (pred.head.span, pred.tail.span) == (gold.tail.span, gold.head.span)
    if pred.relation != gold.relation:
        return "wrong_relation" if same_order or other_order else None
    if same_order or (other_order and pred.relation in symmetric):
        return "wrong_type"
    if other_order:
        return "flipped"
    return "wrong_span" if _overlaps(pred, gold, symmetric) else None


def _overlaps(pred: Triple, gold: Triple, symmetric: AbstractSet[str]) -> list[int]:
    """For each order in which the arguments may be compared: how many characters they share, if both share any."""
    orders = [(gold.head, gold.tail)]
    if pred.relation in symmetric:
        orders.append((gold.tail, gold.head))
    shared = [(_shared(pred.head, first), _shared(pred.tail, second)) for first, second in orders]
    return [sum(pair) for pair in shared if min(pair) > 0]


def _shared(one: Mention, other: Mention) -> int:
    """How many characters two mentions have in common."""
    return min(one.end_char, other.end_char) - max(one.start_char, other.start_char)


def _stands_in(text: str, triple: Triple) -> bool:
    return all(text[mention.start_char : mention.end_char] == mention.text for mention in (triple.head, triple.tail))
