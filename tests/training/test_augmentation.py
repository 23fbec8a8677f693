import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from genre_x.document import Document, Mention, Span, Triple
from genre_x.errors import DataError, SchemaError
from genre_x.training.augmentation import Augmenter, Edit, Synonyms, edited, load_synonyms
from genre_x.training.back_translation import back_translated, find_function
from genre_x.training.config import AugmentationConfig
from genre_x.training.names import NamePool, kinds_of
from genre_x.training.schemas import is_grounded

DOCUMENT = Document("d", "Ada lives in Oslo.", None, ())


def typed(text, *triples, **types):
    """A document whose mentions are given as `Ada_Lovelace="person"`."""
    types = {name.replace("_", " "): kind for name, kind in types.items()}
    mentions = {name: Mention(text.index(name), text.index(name) + len(name), name, kind) for name, kind in types.items()}
    made = tuple(Triple(mentions[head], relation, mentions[tail]) for head, relation, tail in triples)
    return Document("d", text, tuple(mentions.values()), made)


POOL = NamePool.of([typed("Grace Hopper met Alan Turing in Rome.", Grace_Hopper="person", Alan_Turing="person", Rome="place")])


def swapped(document, pool=POOL, seed=0):
    swaps = pool.swaps(document, document.annotated_mentions, 1.0, random.Random(seed))
    return edited(document, [Edit(start, end, text) for (start, end), text in swaps.items()])


def rows(document):
    return [(triple.head.text, triple.relation, triple.tail.text) for triple in document.triples]


class TestEdits:
    def test_mentions_and_evidence_move_along(self):
        ada, oslo = Mention(0, 3, "Ada"), Mention(13, 17, "Oslo")
        triple = Triple(ada, "lives in", oslo, evidence=Span(0, 18))
        document = Document("d", "Ada lives in Oslo.", (ada, oslo), (triple,))
        found = edited(document, [Edit(4, 9, "has a home"), Edit(0, 3, "Grace Hopper")])
        assert found.text == "Grace Hopper has a home in Oslo."
        assert [mention.text for mention in found.mentions] == ["Grace Hopper", "Oslo"]
        assert found.triples[0].evidence == Span(0, len(found.text))

    def test_no_edits_change_nothing(self):
        assert edited(DOCUMENT, []) == DOCUMENT
        assert edited(replace(DOCUMENT, triples=None), []).triples is None

    @pytest.mark.parametrize("edits", [[Edit(2, 5, "x")], [Edit(6, 9, "x"), Edit(5, 7, "y")]])
    def test_what_would_cut_a_mention_or_an_edit_is_refused(self, edits):
        with pytest.raises(SchemaError, match="cuts through|overlaps"):
            edited(typed("Ada lives in Oslo.", Ada="person"), edits)


class TestNames:
    def test_a_name_is_swapped_for_one_of_its_type_everywhere(self):
        document = typed(
            "Ada Byron left Paris. Ada Byron sang.", ("Ada Byron", "left", "Paris"), Ada_Byron="person", Paris="place"
        )
        found = swapped(document)
        person = found.triples[0].head.text
        assert person in {"Grace Hopper", "Alan Turing"}
        assert found.text == f"{person} left Rome. {person} sang."
        assert rows(found) == [(person, "left", "Rome")]

    @pytest.mark.parametrize(
        ("text", "types"),
        [
            ("Ingrid Solberg left. Solberg sang.", {"Ingrid_Solberg": "person"}),
            ("Ingrid Solberg met Tomas Solberg.", {"Ingrid_Solberg": "person", "Tomas_Solberg": "person"}),
            ("New York University", {"New_York": "place", "New_York_University": "person"}),
            ("World Health Office (WHO)", {"World_Health_Office": "place"}),
            ("The WHO is short for World Health Office", {"WHO": "place", "World_Health_Office": "thing"}),
            ("She met his wife; she left.", {"his": "person"}),
            ("the station near a station", {"station": "place"}),
        ],
    )
    def test_a_name_that_another_part_of_the_text_depends_on_stays(self, text, types):
        pool = NamePool({kind: ["Zoe Quux", "zymurgy"] for kind in kinds_of(typed(text, **types)).values()})
        assert swapped(typed(text, **types), pool).text == text

    def test_a_new_name_is_not_in_the_text_yet(self):
        document = typed("Ada Byron met Hopper and Alan Turing.", Ada_Byron="person")
        assert all(swapped(document, seed=seed).text == document.text for seed in range(20))

    def test_without_types_a_name_is_known_by_its_places_in_relations(self):
        def untyped(name, head, tail):
            text = f"{head} wrote {tail}."
            start = text.index(tail)
            triple = Triple(Mention(0, len(head), head), "wrote", Mention(start, start + len(tail), tail))
            return Document(name, text, None, (triple,))

        pool = NamePool.of([untyped("a", "Mary Shelley", "Frankenstein"), untyped("b", "Bram Stoker", "Dracula")])
        for seed in range(10):
            ((head, _, tail),) = rows(swapped(untyped("c", "Franz Kafka", "Amerika"), pool, seed))
            assert head in {"Mary Shelley", "Bram Stoker"}
            assert tail in {"Frankenstein", "Dracula"}

    def test_kinds(self):
        text = "Ada is 36 and smart."
        ada, age, smart = Mention(0, 3, "Ada", "person"), Mention(7, 9, "36", "number"), Mention(14, 19, "smart", "text")
        document = Document("d", text, (ada, age, smart), (Triple(ada, "age", age),))
        assert kinds_of(document) == {
            "Ada": ("type", "person", True, False),
            "36": ("slots", "number", frozenset({("age", "tail")}), False, True),
        }

    def test_pronouns_never_stand_for_a_name(self):
        document = typed("They met Ada.", They="person", Ada="person")
        assert NamePool.of([document]).names == {("type", "person", True, False): ("Ada",)}

    def test_all_names_of_a_document_stay_different(self, typed_set):
        pool = NamePool.of(typed_set.documents)
        for seed in range(5):
            for document in typed_set.documents:
                found = swapped(document, pool, seed)
                assert len({m.text for m in found.mentions}) == len({m.text for m in document.mentions})
                assert [t.relation for t in found.triples] == [t.relation for t in document.triples]
                for before, after in zip(document.annotated_mentions, found.annotated_mentions, strict=True):
                    assert before.type == after.type


class TestSynonyms:
    SYNONYMS = Synonyms.of({"founded": ["set up"], "set up by": ["made by"], "in": ["inside"]})

    def test_words_are_swapped_outside_of_mentions(self):
        document = typed("Ada founded Men in Black in Oslo.", ("Ada", "founded", "Men in Black"), Ada="x", Men_in_Black="x")
        found = edited(document, self.SYNONYMS.edits(document, 1.0, random.Random(0)))
        assert found.text == "Ada set up Men in Black inside Oslo."
        assert rows(found) == [("Ada", "founded", "Men in Black")]

    def test_whole_words_as_they_are_written_the_longest_first(self):
        document = Document("d", "Founded, well-founded, founded-in, unfounded, set up by", None, ())
        found = edited(document, self.SYNONYMS.edits(document, 1.0, random.Random(0)))
        assert found.text == "Founded, well-founded, founded-in, unfounded, made by"

    def test_a_synonym_that_has_a_mention_in_it_is_not_taken(self):
        document = typed("The set founded it.", set="x")
        assert self.SYNONYMS.edits(document, 1.0, random.Random(0)) == []

    def test_the_rate(self):
        document = Document("d", "in " * 1000, None, ())
        assert len(self.SYNONYMS.edits(document, 0.3, random.Random(0))) == pytest.approx(300, abs=50)

    def test_files(self, tmp_path):
        yaml, tsv = tmp_path / "s.yaml", tmp_path / "s.tsv"
        yaml.write_text("bought: [acquired, purchased]\n", encoding="utf-8")
        tsv.write_text("bought\tacquired\tpurchased\n\n", encoding="utf-8")
        assert load_synonyms(yaml) == load_synonyms(tsv)
        assert load_synonyms(yaml).words == {"bought": ("acquired", "purchased")}

    @pytest.mark.parametrize("content", ["- a", "a: b", "a: []", "a: [1]", "1: [a]", "a: ["])
    def test_faults_of_a_file(self, tmp_path, content):
        path = tmp_path / "s.yaml"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(SchemaError, match="list of words|Can't read the synonyms"):
            load_synonyms(path)

    def test_the_list_of_this_project(self):
        found = load_synonyms(Path(__file__).parents[2] / "eval" / "mixtures" / "synonyms.yaml").words
        assert len(found) > 40
        for word, others in found.items():
            assert word not in others
            assert len(set(others)) == len(others)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), rate=st.sampled_from([0.3, 1.0]))
def test_all_together_keep_gold_and_offsets(typed_set, untyped_set, seed, rate):
    rng = random.Random(seed)
    for source in (typed_set, untyped_set):
        config = AugmentationConfig(entity_rate=rate, synonym_rate=rate, synonyms="s.yaml")
        synonyms = Synonyms.of({"now": ["today"], "lies": ["is placed"], "of": ["out of"]})
        augmenter = Augmenter(config=config, names=NamePool.of(source.documents), synonyms=synonyms)
        document = rng.choice(source.documents)
        found = augmenter(document, rng)
        assert is_grounded(found, found.triples)
        assert (found.id, found.language) == (document.id, document.language)
        assert [t.relation for t in found.triples] == [t.relation for t in document.triples]
        arguments = [(t.head.text, t.tail.text) for t in document.triples]
        names = {}
        for triple, (head, tail) in zip(found.triples, arguments, strict=True):
            assert names.setdefault(head, triple.head.text) == triple.head.text
            assert names.setdefault(tail, triple.tail.text) == triple.tail.text


def test_an_augmenter_is_made_only_if_there_is_something_to_do(typed_set, tmp_path):
    assert Augmenter.of(typed_set, AugmentationConfig()) is None
    path = tmp_path / "s.yaml"
    path.write_text("now: [today]", encoding="utf-8")
    made = Augmenter.of(typed_set, AugmentationConfig(synonym_rate=1, synonyms=path, entity_rate=0.5))
    assert made.names.names
    assert made.synonyms.words == {"now": ("today",)}


@pytest.mark.parametrize(("rate", "expected"), [(1.0, {True}), (0.5, {True, False}), (0.0, {False})])
def test_mentions_are_marked_in_the_prompt_and_not_in_the_answer(typed_set, make_builder, rate, expected):
    augmenter = Augmenter.of(typed_set, AugmentationConfig(mark_rate=rate))
    episodes = list(make_builder(sample_schema=False).build(typed_set, random.Random(0), augmenter=augmenter))
    contents = {role: [m.content for e in episodes for m in e.messages if m.role == role] for role in ("user", "assistant")}
    texts = {document.text for document in typed_set.documents}
    assert {text not in texts for text in contents["user"]} == expected
    assert {text.replace("[", "").replace("]", "") for text in contents["user"]} == texts
    names = {t.head.text for document in typed_set.documents for t in document.triples}
    assert {row[0] for answer in contents["assistant"] for row in json.loads(answer)} <= {" ".join(n.split()) for n in names}


def test_the_config_names_what_a_rate_needs():
    with pytest.raises(ValidationError, match="`synonym_rate` needs `synonyms`"):
        AugmentationConfig(synonym_rate=0.1)
    with pytest.raises(ValidationError, match="`back_translation_rate` needs `back_translation`"):
        AugmentationConfig(back_translation_rate=0.1)
    with pytest.raises(ValidationError, match="back_translation"):
        AugmentationConfig(back_translation_rate=0.1, back_translation="translate")


class TestBackTranslation:
    def back(self, monkeypatch, function, documents, rate=1.0, seed=0):
        monkeypatch.setattr("genre_x.training.back_translation.find_function", lambda dotted: function)
        return back_translated(documents, "some:function", rate, random.Random(seed))

    def test_mentions_come_back_wherever_they_stand(self, monkeypatch):
        document = typed("Ada Byron moved to Oslo.", ("Ada Byron", "moved to", "Oslo"), Ada_Byron="person", Oslo="place")
        seen = []

        def translate(texts):
            seen.extend(texts)
            return ["It is ENTITY1 where ENTITY0 went."]

        (found,), n_left = self.back(monkeypatch, translate, [document])
        assert seen == ["ENTITY0 moved to ENTITY1."]
        assert (found.text, n_left) == ("It is Oslo where Ada Byron went.", 0)
        assert rows(found) == [("Ada Byron", "moved to", "Oslo")]
        assert [m.type for m in found.annotated_mentions] == ["place", "person"]

    def test_nested_mentions_come_back_together(self, monkeypatch):
        document = typed("The University of Oslo is old.", University_of_Oslo="org", Oslo="place")
        (found,), _ = self.back(monkeypatch, lambda texts: [f"Old: {text}" for text in texts], [document])
        assert [m.text for m in found.annotated_mentions] == ["University of Oslo", "Oslo"]

    @pytest.mark.parametrize(
        "answer", ["ENTITY0 went.", "ENTITY0 ENTITY1 ENTITY1", "ENTITY0 ENTITY1 ENTITY2", "nothing", "", "ENTITY0s ENTITY1"]
    )
    def test_a_document_whose_mentions_get_lost_stays_and_is_counted(self, monkeypatch, answer):
        document = typed("Ada left Oslo.", ("Ada", "left", "Oslo"), Ada="person", Oslo="place")
        assert self.back(monkeypatch, lambda texts: [answer for _ in texts], [document]) == ((document,), 1)

    def test_a_text_with_a_placeholder_of_its_own_stays(self, monkeypatch):
        document = typed("Ada read ENTITY7.", Ada="person")
        assert self.back(monkeypatch, lambda texts: texts, [document]) == ((document,), 1)

    def test_eleven_mentions_are_told_apart(self, monkeypatch):
        names = [f"Name{chr(65 + number)}" for number in range(12)]
        document = typed(" and ".join(names), **dict.fromkeys(names, "person"))
        (found,), n_left = self.back(monkeypatch, lambda texts: [text.replace("and", "or") for text in texts], [document])
        assert (found.text, n_left) == (" or ".join(names), 0)

    def test_the_rate_chooses_and_the_seed_decides(self, monkeypatch, typed_set):
        documents = typed_set.documents
        found, _ = self.back(monkeypatch, lambda texts: [f"So: {text}" for text in texts], documents, rate=0.25)
        assert sum(one.text.startswith("So: ") for one in found) == len(documents) / 4
        assert [one.id for one in found] == [one.id for one in documents]
        assert found == self.back(monkeypatch, lambda texts: [f"So: {text}" for text in texts], documents, rate=0.25)[0]

    def test_a_function_that_gives_another_number_of_texts(self, monkeypatch):
        with pytest.raises(DataError, match="gave 0 texts for 1"):
            self.back(monkeypatch, lambda texts: [], [typed("Ada left.", Ada="person")])

    def test_functions_are_found_by_their_path(self):
        assert find_function("textwrap:dedent") is __import__("textwrap").dedent
        for wrong in ("no_such_module:f", "textwrap:no_such_function"):
            with pytest.raises(SchemaError, match="`back_translation` names"):
                find_function(wrong)
        with pytest.raises(SchemaError, match="can't be called"):
            find_function("string:digits")
