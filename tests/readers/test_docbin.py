import pytest

from genre_x import Document, Extraction, Mention, Triple
from genre_x.document import Span
from genre_x.errors import DataError
from genre_x.readers import guess_format, read_annotated
from genre_x.relation_attrs import FORMAT, from_attrs, to_attrs

spacy = pytest.importorskip("spacy")

TEXT = "Mira Sol lives in Nordvik."
MIRA, NORDVIK = Mention(0, 8, "Mira Sol", "PER"), Mention(18, 25, "Nordvik", "LOC")


def extraction(*triples):
    return Extraction(Document("d1", TEXT), triples, model="m", template="t")


def save(path, *docs):
    spacy.tokens.DocBin(docs=docs).to_disk(path)
    return path


def doc_with(attrs, text=TEXT, key="relations"):
    doc = spacy.blank("en")(text)
    doc.spans[key] = spacy.tokens.SpanGroup(doc, name=key, spans=[], attrs=attrs)
    return doc


def test_docs_with_relations(tmp_path, round_trip):
    scored = Triple(MIRA, "Lives_In", NORDVIK, score=0.5, evidence=Span(0, 26))
    path = save(tmp_path / "x.spacy", doc_with(to_attrs(extraction(scored)), key="mine"), doc_with(to_attrs(extraction())))
    assert guess_format(path) == "docbin"
    sets = read_annotated(path)
    first, second = sets[0].documents
    mira, nordvik = Mention(0, 8, "Mira Sol", "per"), Mention(18, 25, "Nordvik", "loc")
    assert (first.id, first.text, first.mentions) == ("d1", TEXT, (mira, nordvik))
    assert first.triples == (Triple(mira, "lives in", nordvik),)
    assert (second.id, second.triples) == ("d1#2", ())
    round_trip(sets)


def test_what_the_component_writes_is_read(tmp_path):
    to_doc = pytest.importorskip("spacy_component").to_doc
    triple = Triple(MIRA, "lives in", NORDVIK)
    path = save(tmp_path / "x.spacy", to_doc(Document("d1", TEXT, triples=(triple,)), spacy.blank("en")))
    (one,) = read_annotated(path)
    assert one.documents[0].triples[0].tail.span == (18, 25)


def test_plain_values_read_as_they_were_written():
    scored = extraction(Triple(MIRA, "Lives_In", NORDVIK, score=0.5, evidence=Span(0, 26)))
    assert from_attrs(to_attrs(scored), TEXT) == scored


def test_all_faults_at_once(tmp_path, faults_of):
    good = to_attrs(extraction(Triple(MIRA, "r", NORDVIK)))
    two = doc_with(good)
    two.spans["other"] = spacy.tokens.SpanGroup(two, name="other", spans=[], attrs=good)
    outside = good | {"mentions": [{"start_char": 0, "end_char": 80, "type": None}] * 2}
    path = save(
        tmp_path / "x.spacy",
        doc_with({}, key="sc"),
        two,
        doc_with({"format": FORMAT}),
        doc_with(good | {"triples": [{"head": 9}]}),
        doc_with(outside),
        doc_with(good),
    )
    faults = faults_of(path, "docbin")
    assert faults[:4] == [
        "FILE, doc 1: expected one span group with relations in doc.spans, found 0; groups: 'sc'",
        "FILE, doc 2: expected one span group with relations in doc.spans, found 2; groups: 'relations', 'other'",
        f"FILE, doc 3: the relations are not in the form {FORMAT!r}: KeyError: 'mentions'",
        f"FILE, doc 4: the relations are not in the form {FORMAT!r}: IndexError: list index out of range",
    ]
    assert "its offsets are [0, 80)" in faults[4]
    assert len(faults) == 5


def test_a_file_that_is_no_docbin(tmp_path):
    (tmp_path / "x.spacy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no DocBin that spaCy can read"):
        read_annotated(tmp_path / "x.spacy")
