import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_x import Mention, Triple
from genre_x.errors import DataError
from genre_x.readers import guess_format, read_annotated

TABLE = (
    "text,head,relation,tail,head_type\n"
    '"Mira Sol, of Nordvik, sings.",Mira Sol,lives in,Nordvik,PER\n'
    "It rained.,,,,\n"
    '"Mira Sol, of Nordvik, sings.",Nordvik,home of, Mira Sol ,LOC\n'
)


def test_rows_of_one_text_are_one_document(write, round_trip):
    path = write("facts.csv", "\ufeff" + TABLE)
    assert guess_format(path) == "csv"
    sets = read_annotated(path)
    first, second = sets[0].documents
    assert (first.id, first.text, first.mentions) == ("row-2", "Mira Sol, of Nordvik, sings.", None)
    assert first.triples == (
        Triple(Mention(0, 8, "Mira Sol", "per"), "lives in", Mention(13, 20, "Nordvik")),
        Triple(Mention(13, 20, "Nordvik", "loc"), "home of", Mention(0, 8, "Mira Sol")),
    )
    assert (second.id, second.triples) == ("row-3", ())
    round_trip(sets)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiters(write, mark):
    name = "x.tsv" if mark == "\t" else "x.csv"
    rows = [["id", "Text", "HEAD", "relation", "tail", "note"], ["a", "Mira, Bo; x|y", "Mira", "knows", "Bo", "-"]]
    content = io.StringIO()
    csv.writer(content, delimiter=mark, quoting=csv.QUOTE_ALL).writerows(rows)
    path = write(name, content.getvalue())
    assert guess_format(path) == "csv"
    (one,) = read_annotated(path)
    assert (one.documents[0].id, one.documents[0].text) == ("a", "Mira, Bo; x|y")
    assert one.documents[0].triples == (Triple(Mention(0, 4, "Mira"), "knows", Mention(6, 8, "Bo")),)


def test_the_nearest_occurrences_are_meant(write):
    (one,) = read_annotated(write("x.csv", "text,head,relation,tail\nBo is old. Bo met Al.,Bo,met,Al\n"))
    assert one.documents[0].triples[0].head.span == (11, 13)


def test_the_same_text_under_two_ids_is_two_documents(write):
    content = "id,text,head,relation,tail\na,Bo met Al.,Bo,met,Al\nb,Bo met Al.,Al,met,Bo\na,Bo met Al.,Bo,knows,Al\n"
    (one,) = read_annotated(write("x.csv", content))
    assert [(document.id, len(document.triples)) for document in one.documents] == [("a", 2), ("b", 1)]


def test_all_faults_at_once(write, faults_of):
    path = write(
        "x.csv",
        "id,text,head,relation,tail\n"
        '1,"Bo met\nAl.",Bo,met,Al\n'
        "2,Bo met Al.,Bob,met,Alf\n"
        "3,Bo met Al.,Bo,,Al\n"
        "\n"
        "4,Bo met Al.,Bo,is,Bo\n"
        "5,Bo met Al.,Bo,met,Al\n"
        "5,Bo met Al.,,,\n"
        "6,Bo met Al.,,,\n"
        "6,Al met Bo.,,,\n"
        "7, ,,,\n",
    )
    assert faults_of(path, "csv") == [
        "FILE: line 4: the head 'Bob' and the tail 'Alf' are not in the text 'Bo met Al.'",
        "FILE: line 5: relation is empty, but the row has a relation",
        "FILE: line 7: head and tail are the same span 'Bo'",
        "FILE: line 9: no relation, but line 8 gives the same text one",
        "FILE: line 11: the id '6' has another text at line 10",
        "FILE: line 12: the text is empty",
    ]
    (one,) = read_annotated(path, skip_bad=True)
    assert ([document.id for document in one.documents], one.n_bad) == (["1"], 6)


def test_unknown_labels_under_a_task(write, faults_of, task):
    assert faults_of(write("x.csv", TABLE), "csv", task=task) == [
        "FILE, line 2: relation label 'home of' is neither a name nor an alias. Known: lives in"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no column text, head, relation, tail.*Found: ''|none"),
        ("text,head,tail\nx,x,x\n", "there is no column relation. Needed: text, head, relation, tail"),
        ("text,head,relation,tail,text\n", "there is more than one column text"),
        ("text,head,relation,tail\na,b\n", "line 2: expected 4 cells as in the header, found 2"),
        ('text,head,relation,tail\n"a"b,c,d,e\n', "line 2: not a valid table"),
        ("text,head,relation,tail\n", "there are no records"),
    ],
)
def test_a_file_that_is_no_such_table(write, content, message):
    with pytest.raises(DataError, match=message):
        read_annotated(write("x.csv", content), format="csv")


WORD = st.text(st.characters(codec="utf-8", categories=("L",)), min_size=1, max_size=5)
GAP = st.sampled_from([" ", ", ", '" "', "\n", "; ", "\t|"])


@given(st.lists(st.tuples(WORD, GAP, WORD), min_size=1, max_size=4), st.sampled_from([",", ";", "\t", "|"]))
def test_any_text_survives_the_table(tmp_path_factory, parts, mark):
    texts = {f"{head}{gap}{tail}": (head, tail) for head, gap, tail in parts if head != tail}
    if not texts:
        return
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=mark)
        writer.writerow(["text", "head", "relation", "tail"])
        writer.writerows([text, head, "r", tail] for text, (head, tail) in texts.items())
    (one,) = read_annotated(path)
    found = {document.text: [(one.head.text, one.tail.text) for one in document.triples] for document in one.documents}
    assert found == {text: [pair] for text, pair in texts.items()}
