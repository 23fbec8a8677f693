"""What happens to relations when docs are saved, copied, sent to other processes and merged."""

import json
import warnings

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from genre_x import Document, Extraction, Mention, Reason, Rejection, Span, Triple
from genre_x.errors import SchemaError
from spacy_component import get_extraction, merge_docs, register_extension, set_extraction

TEXT = "Dr Ada Lovelace-Byron was born in London\u2019s West. The weather was mild."


def mention(fragment, type_name=None, text=TEXT):
    start = text.index(fragment)
    return Mention(start, start + len(fragment), fragment, type_name)


EXTRACTION = Extraction(
    Document("d1", TEXT),
    (
        Triple(mention("Ada Lovelace", "person"), "born in", mention("London", "location"), 0.123456789012345, Span(0, 49)),
        Triple(mention("Ada Lovelace", "person"), "born in", mention("West")),
        Triple(mention("Ada"), "knows", mention("Byron"), 1.0),
    ),
    (Rejection(Reason.UNGROUNDED, '["x","born in","y"]'), Rejection(Reason.TRUNCATED, "")),
    ("[…]", "[]"),
    "some-model",
    "re.v1@1a2b3c4d",
)


@pytest.fixture(scope="module")
def nlp():
    register_extension()
    return spacy.blank("en")


@pytest.fixture
def doc(nlp):
    doc = nlp(TEXT)
    set_extraction(doc, EXTRACTION)
    return doc


def to_bytes(doc, tmp_path):
    return Doc(Vocab()).from_bytes(doc.to_bytes())


def to_disk(doc, tmp_path):
    doc.to_disk(tmp_path / "doc")
    return Doc(Vocab()).from_disk(tmp_path / "doc")


def doc_bin(doc, tmp_path):
    return next(DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(Vocab()))


def doc_bin_with_user_data(doc, tmp_path):
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "docs.spacy")
    return next(DocBin().from_disk(tmp_path / "docs.spacy").get_docs(Vocab()))


def copy(doc, tmp_path):
    return doc.copy()


def twice(doc, tmp_path):
    return doc_bin(to_bytes(doc, tmp_path), tmp_path)


def merge_of_one(doc, tmp_path):
    return merge_docs([doc])


@pytest.mark.parametrize(
    "way", [to_bytes, to_disk, doc_bin, doc_bin_with_user_data, copy, twice, merge_of_one], ids=lambda way: way.__name__
)
def test_everything_survives(doc, tmp_path, way):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = way(doc, tmp_path)
    assert get_extraction(back) == EXTRACTION
    assert [relation.triple for relation in back._.relations] == list(EXTRACTION.triples)
    assert [span.text for span in back.spans["relations"]] == [span.text for span in doc.spans["relations"]]
    assert [span.label_ for span in back.spans["relations"]] == ["", "person", "", "location", ""]


def test_the_data_are_plain(doc):
    attrs = doc.spans["relations"].attrs
    assert json.loads(json.dumps(attrs)) == attrs
    assert doc.user_data == {}


def test_nothing_found_survives(nlp):
    doc = nlp(TEXT)
    set_extraction(doc, Extraction(Document("d", TEXT), ()))
    back = doc_bin(doc, None)
    assert get_extraction(back) == Extraction(Document("d", TEXT), ())
    assert back._.relations == []


def test_spans_that_are_no_tokens(doc):
    first = doc._.relations[0]
    assert [token.text for token in doc[:5]] == ["Dr", "Ada", "Lovelace", "-", "Byron"]
    assert (first.tail.text, first.triple.tail.text) == ("London", "London")
    text = "TheParis-based groups"
    doc = spacy.blank("en")(text)
    triple = Triple(mention("Paris", text=text), "x", mention("group", text=text), evidence=Span(3, 14))
    set_extraction(doc, Extraction(Document("", text), (triple,)))
    (relation,) = doc._.relations
    assert (relation.head.text, relation.tail.text) == ("TheParis", "groups")
    assert relation.evidence.text == "TheParis-based"
    assert relation.triple == triple
    assert (relation.triple.head.start_char, relation.triple.head.end_char) == (3, 8)
    assert str(relation) == "Paris --[x]--> group"


def test_a_mention_that_no_token_touches_becomes_a_rejection(nlp):
    doc = nlp("a b")
    good = Triple(mention("a", text="a b"), "r", mention("b", text="a b"))
    bad = Triple(mention("a", text="a b"), "r", mention(" ", text="a b"))
    set_extraction(doc, Extraction(Document("", "a b"), (bad, good)))
    assert [relation.triple for relation in doc._.relations] == [good]
    assert get_extraction(doc).rejections == (Rejection(Reason.UNGROUNDED, '["a", "r", " "]'),)


def test_empty_doc(nlp):
    doc = Doc(nlp.vocab)
    set_extraction(doc, Extraction(Document("", ""), ()))
    assert doc._.relations == []


def test_another_text(nlp):
    with pytest.raises(SchemaError, match="can't be stored"):
        set_extraction(nlp("Other."), EXTRACTION)


def test_json_form(doc):
    record = get_extraction(doc).to_dict()
    assert record == EXTRACTION.to_dict()
    assert doc._.relations[0].to_dict() == record["triples"][0]


def test_retokenization_keeps_the_characters(doc):
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:3])
    assert doc._.relations[0].head.text == "Dr Ada Lovelace"
    assert doc._.relations[0].triple.head.text == "Ada Lovelace"


class TestMerging:
    @pytest.mark.parametrize("ensure_whitespace", [True, False])
    def test_offsets(self, nlp, ensure_whitespace):
        docs = []
        for text in (TEXT, "", "Nobody here", TEXT + " ", " \n\n", TEXT):
            doc = nlp(text)
            if TEXT in text:
                set_extraction(doc, Extraction(Document("d", text), EXTRACTION.triples, EXTRACTION.rejections))
            docs.append(doc)
        merged = merge_docs(docs, ensure_whitespace=ensure_whitespace)
        relations = merged._.relations
        assert len(relations) == 9
        assert len({relation.triple for relation in relations}) == 9
        assert [str(relation) for relation in relations] == [str(r) for doc in docs for r in doc._.relations]
        assert [r.evidence and r.evidence.text for r in relations] == [
            r.evidence and r.evidence.text for doc in docs for r in doc._.relations
        ]
        assert len(get_extraction(merged).rejections) == 6
        for relation in relations:
            found = merged.text[relation.triple.head.start_char : relation.triple.head.end_char]
            assert found == relation.triple.head.text

    @given(texts=st.lists(st.sampled_from(["Ann met Bo.", "", " ", "Ann met Bo. ", "\n", "x", "Ann met Bo"]), min_size=1))
    def test_any_texts(self, nlp, texts):
        docs = [nlp(text) for text in texts]
        for doc in docs:
            if "Ann" in doc.text:
                triple = Triple(mention("Ann", text=doc.text), "met", mention("Bo", text=doc.text), evidence=Span(0, 10))
                set_extraction(doc, Extraction(Document("", doc.text), (triple,)))
        merged = merge_docs(docs)
        extraction = get_extraction(merged)
        assert len(extraction.triples if extraction else ()) == sum("Ann" in text for text in texts)

    def test_names_of_models_are_joined(self, nlp):
        docs = []
        for model in ("a", "b", "a"):
            doc = nlp(TEXT)
            set_extraction(doc, Extraction(Document(model, TEXT), (), model=model, template="t"))
            docs.append(doc)
        extraction = get_extraction(merge_docs(docs))
        assert (extraction.document.id, extraction.model, extraction.template) == ("a, b", "a, b", "t")

    def test_other_keys_and_groups(self, nlp):
        docs = [nlp(TEXT), nlp(TEXT)]
        set_extraction(docs[1], EXTRACTION, spans_key="second")
        docs[0].spans["other"] = [docs[0][1:2]]
        merged = merge_docs(docs)
        assert get_extraction(merged) is None
        assert len(get_extraction(merged, spans_key="second").triples) == 3
        assert [span.text for span in merged.spans["other"]] == ["Ada"]

    def test_without_spans(self, doc):
        assert dict(merge_docs([doc], exclude=["spans"]).spans) == {}

    def test_no_docs(self):
        with pytest.raises(SchemaError, match="at least one"):
            merge_docs([])

    def test_plain_from_docs_is_noticed(self, doc):
        merged = Doc.from_docs([doc, doc.copy()])
        with pytest.warns(UserWarning, match="merge_docs"):
            assert merged._.relations == []
