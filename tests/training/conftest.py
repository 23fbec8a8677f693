"""Sets of documents with all that makes training data hard: several types, literals, names that repeat, no triples."""

import json

import pytest

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document, Mention, Triple
from genre_x.formats import get_format
from genre_x.prompting import PromptTemplate
from genre_x.schema import EntityType, RelationType, Schema
from genre_x.training.config import EpisodesConfig, TrainingConfig
from genre_x.training.episodes import EpisodeBuilder

TYPED = Schema(
    name="typed",
    entity_types=(
        EntityType(name="person", description="a human being", aliases=("PER",)),
        EntityType(name="place", aliases=("LOC",)),
        EntityType(name="company"),
    ),
    relation_types=(
        RelationType(name="born in", description="where", head_types=("person",), tail_types=("place",), aliases=("Birth_In",)),
        RelationType(name="died in", description="where", head_types=("person",), tail_types=("place",)),
        RelationType(name="works for", head_types=("person",), tail_types=("company",), inverse="employs"),
        RelationType(name="employs", head_types=("company",), tail_types=("person",), inverse="works for"),
        RelationType(name="located in", head_types=("place", "company"), tail_types=("place",)),
        RelationType(name="age", head_types=("person",), tail_types=("number",)),
        RelationType(name="near", symmetric=True),
    ),
)
UNTYPED = Schema(
    name="untyped",
    relation_types=tuple(RelationType(name=name) for name in ("knows", "likes", "part of", "made of", "knows well")),
)


def document(name, text, *triples, types=None, language=None):
    """A document from strings; each string means its first place in the text, and `types` gives types to strings."""

    def mention(string):
        start = text.index(string)
        return Mention(start, start + len(string), string, (types or {}).get(string))

    made = tuple(Triple(mention(head), relation, mention(tail)) for head, relation, tail in triples)
    mentions = None if types is None else tuple(mention(string) for string in types)
    return Document(name, text, mentions, made, language)


def annotated(name, schema, documents, **more):
    return AnnotatedSet(name, schema, tuple(documents), "Extract.", **more)


NAMES = ["Ada Lovelace", "Bob Marsh", "Cy Twine", "Dörte 東", "Eve O'Neil", "Finn\u00a0Ó Briain"]
PLACES = ["Oslo", "Rome", "New\nYork", "京都"]
COMPANIES = ["Acme", "Globex Corp.", "Initech"]


@pytest.fixture
def typed_set():
    documents = []
    for number, person in enumerate(NAMES):
        place, company = PLACES[number % len(PLACES)], COMPANIES[number % len(COMPANIES)]
        types = {person: "person", place: "place", company: "company"}
        text = f"{person}, born in {place}, now works for {company}."
        triples = ((person, "born in", place), (person, "works for", company))
        documents.append(document(f"a{number}", text, *triples, types=types))
        text = f'"{company}" lies in {place}\u2028near {person}\\.'
        triples = ((company, "located in", place), (company, "near", person))
        documents.append(document(f"b{number}", text, *triples, types=types))
        text = f"{person} is 4{number} and died in {place}."
        triples = ((person, "age", f"4{number}"), (person, "died in", place))
        types = {person: "person", place: "place", f"4{number}": "number"}
        documents.append(document(f"c{number}", text, *triples, types=types))
        documents.append(document(f"d{number}", f"Nothing was heard of {person}.", types={person: "person"}))
    return annotated("typed", TYPED, documents)


@pytest.fixture
def untyped_set():
    pairs = [(head, tail) for head in NAMES for tail in NAMES if head != tail]
    documents = [
        document(
            f"u{number}",
            f"{head} {'likes' if number % 3 else 'knows'} {tail}.",
            (head, "likes" if number % 3 else "knows", tail),
        )
        for number, (head, tail) in enumerate(pairs)
    ]
    documents.append(document("u-part", "The rotor is part of an engine.", ("rotor", "part of", "engine")))
    documents.append(document("u-made", "The ring is made of gold.", ("ring", "made of", "gold")))
    return annotated("untyped", UNTYPED, documents)


def count_characters(messages):
    return sum(len(message.content) + 4 for message in messages)


@pytest.fixture
def make_builder():
    """A function from options of `EpisodesConfig` to a builder whose tokens are characters."""

    def make(output_format="rows", count=count_characters, **options):
        return EpisodeBuilder(
            template=PromptTemplate.load("re.v1"),
            output_format=get_format(output_format),
            config=EpisodesConfig(**{"max_tokens": 2000, **options}),
            count_tokens=count,
        )

    return make


TASK = """
name: small
instruction: Extract.
relation_types:
  - {name: knows}
  - {name: likes}
examples: []
"""


@pytest.fixture(scope="session")
def sentences(tmp_path_factory):
    """A handful of sentences with a pattern that a tiny model can learn, and their task."""
    folder = tmp_path_factory.mktemp("sentences")
    (folder / "task.yaml").write_text(TASK, encoding="utf-8")
    names = ["Ada", "Bob", "Cy", "Di"]
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for head in names:
            for tail in names:
                if head != tail:
                    for verb in ("knows", "likes"):
                        record = {"text": f"{head} {verb} {tail}.", "triples": [[head, verb, tail]]}
                        file.write(json.dumps(record) + "\n")
    return folder


@pytest.fixture(scope="session")
def make_config(sentences):
    """A function from a model, a run folder and changes to the config of a small run."""

    def make(model, output_dir, **changes):
        source = {"sentences": sentences / "train.jsonl", "task": str(sentences / "task.yaml")}
        values = {
            "model": str(model),
            "output_dir": output_dir,
            "train": [source],
            "dev": [{**source, "max_documents": 6}],
            "adapter": None,
            "episodes": {"max_tokens": 900, "max_documents": 2, "sample_schema": False},
            "optimizer": {"learning_rate": 5e-3, "epochs": 6, "batch_size": 4, "warmup_ratio": 0.1},
            "eval_steps": 9,
            "dev_documents": 2,
            "f1_documents": 2,
            "select_by": "loss",
            "early_stopping_patience": None,
            "precision": "fp32",
        }
        return TrainingConfig.model_validate({**values, **changes})

    return make
