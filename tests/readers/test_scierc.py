import json

from genre_x import Mention, Triple
from genre_x.readers import guess_format, read_annotated

RECORD = {
    "doc_key": "paper1",
    "sentences": [["We", "train", "parsers", "on", "trees", "."], ["Such", "parsers", "work", "."]],
    "ner": [[[2, 2, "Method"], [4, 4, "Material"]], [[6, 7, "Method"]]],
    "relations": [[[4, 4, 2, 2, "USED-FOR"]], []],
    "clusters": [[[2, 2], [6, 7]]],
}


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def test_every_sentence_is_a_document(write, round_trip):
    path = write("train.jsonl", lines(RECORD))
    assert guess_format(path) == "scierc"
    sets = read_annotated(path)
    first, second = sets[0].documents
    assert (first.id, first.text) == ("paper1-1", "We train parsers on trees .")
    parsers, trees = Mention(9, 16, "parsers", "method"), Mention(20, 25, "trees", "material")
    assert first.mentions == (parsers, trees)
    assert first.triples == (Triple(trees, "used for", parsers),)
    assert (second.id, second.text) == ("paper1-2", "Such parsers work .")
    assert second.mentions == (Mention(0, 12, "Such parsers", "method"),)
    assert second.triples == ()
    round_trip(sets)


def test_whole_documents(write):
    across = RECORD | {"relations": [[[4, 4, 2, 2, "USED-FOR"], [4, 4, 6, 7, "USED-FOR"]], []]}
    (one,) = read_annotated(write("train.json", lines(across)), format="scierc_documents")
    (document,) = one.documents
    assert document.id == "paper1"
    assert document.text == "We train parsers on trees . Such parsers work ."
    assert [(one.head.span, one.tail.span, one.tail.text) for one in document.triples] == [
        ((20, 25), (9, 16), "parsers"),
        ((20, 25), (28, 40), "Such parsers"),
    ]


def test_all_faults_at_once(write, faults_of):
    outside = RECORD | {"ner": [[[2, 2, "Method"], [4, 6, "Material"]], [[5, 7, "Method"]]]}
    no_entity = RECORD | {"relations": [[[4, 4, 1, 1, "USED-FOR"]], []]}
    too_few = RECORD | {"relations": [[]]}
    path = write("train.jsonl", lines(RECORD, outside) + "{\n" + lines(no_entity, too_few))
    assert faults_of(path, "scierc") == [
        "FILE, line 2: sentence 1: ner [4, 6, 'Material']: tokens [4, 7) are no range of its 6 tokens",
        "FILE, line 2: sentence 2: ner [5, 7, 'Method']: tokens [-1, 2) are no range of its 4 tokens",
        "FILE, line 3: not valid JSON: Expecting property name enclosed in double quotes: line 2 column 1 (char 2)",
        "FILE, line 4: sentence 1: relations name the tokens (1, 1), which are no entity in `ner`",
        "FILE, line 5: `ner` and `relations` have one list per sentence; found 2 and 1 lists for 2 sentences",
    ]
    (one,) = read_annotated(path, format="scierc", skip_bad=True)
    assert (len(one.documents), one.n_bad) == (2, 4)


def test_a_span_with_two_labels_has_the_first_one_in_relations(write):
    twice = RECORD | {"ner": [[[2, 2, "Method"], [2, 2, "Task"], [4, 4, "Material"]], [[6, 7, "Method"]]]}
    (one,) = read_annotated(write("train.jsonl", lines(twice)))
    assert len(one.documents[0].mentions) == 3
    assert one.documents[0].triples[0].tail.type == "method"
