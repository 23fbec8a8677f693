"""What a model is tested on and what it is shown: unseen relations, and few-shot examples drawn from annotated data.

*Zero-shot* as in RelationPrompt (Chia et al. 2022, https://aclanthology.org/2022.findings-acl.5): m relation types are drawn,
the model is asked for these only, and only documents whose relations are all among them are read.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document
from genre_x.errors import DataError, UnknownNameError
from genre_x.schema import Schema
from genre_x.yaml_text import load_yaml


def load_relation_names(path: str | Path) -> tuple[str, ...]:
    """Read a YAML list of relation names.

    Raises:
        DataError: The file can't be read, or holds something else.
    """
    try:
        content = load_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"Can't read the relation names in {str(path)!r}: {error}") from error
    if not isinstance(content, list) or not content or not all(isinstance(name, str) for name in content):
        raise DataError(f"{path}: expected a YAML list of relation names, such as `- founded by`.")
    return tuple(content)


def unseen_relations(
    one: AnnotatedSet, *, n_unseen: int | None = None, candidates: Sequence[str] | None = None, seed: int = 0
) -> tuple[str, ...]:
    """Choose the relations of a zero-shot test.

    Args:
        one: The data.
        n_unseen: How many to draw; None takes all candidates.
        candidates: Names or aliases to draw from; None means all relations that occur in the documents.
        seed: For drawing. The same set, candidates and seed give the same relations.

    Returns:
        Their names in the schema, sorted.

    Raises:
        UnknownNameError: A candidate is not in the schema.
        DataError: There are fewer candidates than are to be drawn.
    """
    if candidates is None:
        names = sorted({triple.relation for document in one.documents for triple in document.triples or ()})
    else:
        names = []
        for label in sorted(set(candidates)):
            relation = one.schema.resolve_relation(label)
            if relation is None:
                raise UnknownNameError("relation", label, (known.name for known in one.schema.relation_types))
            names.append(relation.name)
        names = sorted(set(names))
    if n_unseen is None:
        return tuple(names)
    if not 0 < n_unseen <= len(names):
        raise DataError(f"Can't draw {n_unseen} relations of {one.name!r}: there are {len(names)} to draw from.")
    return tuple(sorted(random.Random(seed).sample(names, n_unseen)))


def restrict(one: AnnotatedSet, relations: Collection[str]) -> AnnotatedSet:
    """The set with these relations only.

    Kept are documents with at least one gold triple whose relations are all among `relations`. A document with gold triples
    that no span stands for is left out, since nobody knows their relations.

    Args:
        one: The data.
        relations: Names in its schema.

    Raises:
        DataError: No document is left.
    """
    wanted = set(relations)
    documents = tuple(
        document
        for document in one.documents
        if document.triples
        and document.id not in one.unanchored
        and all(triple.relation in wanted for triple in document.triples)
    )
    if not documents:
        raise DataError(f"{one.name!r} has no document whose relations are all among: {', '.join(sorted(wanted))}.")
    return replace(one, schema=_restricted_schema(one.schema, wanted), documents=documents, unanchored={})


def _restricted_schema(schema: Schema, wanted: Collection[str]) -> Schema:
    relation_types = tuple(
        relation if relation.inverse in wanted else relation.model_copy(update={"inverse": None})
        for relation in schema.relation_types
        if relation.name in wanted
    )
    return Schema(name=schema.name, relation_types=relation_types, entity_types=schema.entity_types)


def in_languages(sets: Sequence[AnnotatedSet], languages: Collection[str]) -> list[AnnotatedSet]:
    """The sets with the documents in these languages only; some may be left without any.

    Args:
        sets: The data.
        languages: Codes as the documents have them, such as `de` or `pt-BR`.

    Raises:
        DataError: No document of any set is left.
    """
    found = [replace(one, documents=tuple(d for d in one.documents if d.language in languages)) for one in sets]
    if not any(one.documents for one in found):
        known = ", ".join(sorted({document.language or "not stated" for one in sets for document in one.documents}))
        raise DataError(f"No document is in {', '.join(sorted(languages))}. The languages of the data: {known}.")
    return found


def sample(one: AnnotatedSet, n: int, *, seed: int = 0) -> AnnotatedSet:
    """A set with `n` of its documents, drawn by seed and in their order; the set itself if it has no more.

    Data sets are often sorted by relation, so their first documents stand for little.
    """
    if len(one.documents) <= n:
        return one
    places = sorted(random.Random(seed).sample(range(len(one.documents)), n))
    return replace(one, documents=tuple(one.documents[place] for place in places))


def draw_shots(
    pool: AnnotatedSet, k: int, *, per_relation: bool = False, seed: int = 0, without: Collection[str] = ()
) -> tuple[Document, ...]:
    """Draw few-shot examples.

    Args:
        pool: Data to draw from; documents with gold triples that no span stands for are left out, since they would teach a
            model to miss what is stated.
        k: How many documents.
        per_relation: At least so many documents for each relation that the data have, instead of altogether; a document counts
            for all relations it states.
        seed: For drawing.
        without: Texts that must not be drawn: those the model is tested on.

    Raises:
        DataError: There are not enough documents.
    """
    banned = set(without)
    documents = [document for document in pool.documents if document.text not in banned and document.id not in pool.unanchored]
    rng = random.Random(seed)
    rng.shuffle(documents)
    if not per_relation:
        if len(documents) < k:
            raise DataError(f"Can't draw {k} examples from {pool.name!r}: it has {len(documents)} other documents.")
        return tuple(documents[:k])
    drawn: list[Document] = []
    for relation in pool.schema.relation_types:
        if not any(_states(document, relation.name) for document in pool.documents):
            continue
        missing = k - sum(_states(document, relation.name) for document in drawn)
        more = [document for document in documents if _states(document, relation.name) and document not in drawn]
        if missing > len(more):
            raise DataError(
                f"Can't draw {k} examples of {relation.name!r} from {pool.name!r}: it has {k - missing + len(more)} "
                "in documents that are not tested on."
            )
        drawn += more[: max(0, missing)]
    rng.shuffle(drawn)
    return tuple(drawn)


def draw_for_each(
    sets: Sequence[AnnotatedSet], pools: Sequence[AnnotatedSet], k: int, *, per_relation: bool = False, seed: int = 0
) -> list[tuple[Document, ...]]:
    """Few-shot examples for each set, from the pool of the same name, or from the only one; see `draw_shots`.

    Raises:
        DataError: A set has no pool, or a pool not enough documents.
    """
    tested = {document.text for one in sets for document in one.documents}
    examples = []
    for one in sets:
        pool = pools[0] if len(pools) == 1 else next((pool for pool in pools if pool.name == one.name), None)
        if pool is None:
            raise DataError(f"No examples for {one.name!r}: there are {', '.join(repr(pool.name) for pool in pools)}.")
        relations = {relation.name for relation in one.schema.relation_types}
        if not {relation.name for relation in pool.schema.relation_types} <= relations:
            pool = restrict(pool, relations)
        examples.append(draw_shots(pool, k, per_relation=per_relation, seed=seed, without=tested))
    return examples


def _states(document: Document, relation: str) -> bool:
    return any(triple.relation == relation for triple in document.triples or ())
