import pytest

from genre_x import Mention, Triple
from genre_x.errors import DataError
from genre_x.readers import guess_format, read_annotated

TEXT = "Mira Sol left Nordvik.\r\nBreast and lung cancer — é.\n"
ANNOTATION = (
    "T1\tPerson 0 8\tMira Sol\n"
    "T2\tPlace 14 21\tNordvik\n"
    "T3\tDisease 24 30;40 46\tBreast cancer\n"
    "E1\tLeave:T2 Who:T1\n"
    "A1\tNegated E1\n"
    "N1\tReference T2 Wiki:5\tNordvik\n"
    "#1\tAnnotatorNotes T1\tsure?\n"
    "*\tEquiv T1 T2\n"
    "\n"
    "R1\tLives_In Arg1:T1 Arg2:T2\t\n"
    "R2\tLives_In Arg2:T2 Arg1:T1\n"
    "R3\tHas Patient:T1 Illness:T3\n"
)


def test_a_folder(write, round_trip):
    write("corpus/one.txt", TEXT)
    folder = write("corpus/one.ann", ANNOTATION).parent
    write("corpus/inner/two.txt", "It rained.")
    write("corpus/inner/two.ann", "")
    assert guess_format(folder) == "brat"
    sets = read_annotated(folder)
    empty, one = sets[0].documents
    assert (empty.id, empty.mentions, empty.triples) == ("inner/two", (), ())
    assert (one.id, one.text) == ("one", TEXT)
    mira, nordvik = Mention(0, 8, "Mira Sol", "person"), Mention(14, 21, "Nordvik", "place")
    cancer = Mention(24, 46, "Breast and lung cancer", "disease")
    assert one.mentions == (mira, nordvik, cancer)
    assert one.triples == (Triple(mira, "lives in", nordvik), Triple(mira, "has", cancer))
    assert sets[0].left_out == {"repeated triples": 1}
    round_trip(sets)


def test_a_split_is_a_folder_inside(write):
    write("corpus/dev/a.txt", TEXT)
    folder = write("corpus/dev/a.ann", ANNOTATION).parents[1]
    (one,) = read_annotated(folder, split="dev")
    assert one.documents[0].id == "a"


def test_all_faults_at_once(write):
    write("corpus/a.txt", "Mira left.")
    write("corpus/a.ann", "T1\tPerson 0 4\tMiro\nT2\tPlace 5 50\tleft\nT3 Place 1 2\nT4\tX 0 4\tMira\nT4\tX 0 4\tMira\nhello\n")
    write("corpus/b.txt", "Mira left.")
    write("corpus/b.ann", "T1\tPerson 0 4\tMira\nR1\tr Arg1:T1 Arg2:T9\nR2\tr T1 T1\nT5\tX 4 4\t\n")
    write("corpus/c.txt", "Not annotated.")
    folder = write("corpus/d.ann", "").parent
    write("corpus/e.txt", "Mira in Nordvik")
    write("corpus/e.ann", "T1\tPerson 0 4\tMira\nT2\tPlace 8 15\tNordvik\nR1\tIn Arg1:T1 Arg2:T2\n")
    with pytest.raises(DataError) as caught:
        read_annotated(folder)
    assert [fault.replace(f"{folder}/", "") for fault in caught.value.faults] == [
        "a.ann: line 1: T1 says 'Miro' at 0 4, but the text there is 'Mira'",
        "a.ann: line 2: the offsets 5 50 are no range of the 10 characters of the text",
        "a.ann: line 3: expected 'T1<tab>Label start end<tab>text', found 'T3 Place 1 2'",
        "a.ann: line 5: the id T4 was there before",
        "a.ann: line 6: expected a line that begins with T, R or one of EAMN#*, found 'hello'",
        "b.ann: line 4: the offsets 4 4 are no range of the 10 characters of the text",
        "b.ann: line 2: R1 names T9, which is the id of no mention that can be read",
        "b.ann: line 3: expected 'R1<tab>Label Arg1:T1 Arg2:T2', found 'R2\\tr T1 T1'",
        "c.ann: the file c.ann is missing",
        "d.ann: the file d.txt is missing",
    ]
    (one,) = read_annotated(folder, skip_bad=True)
    assert ([document.id for document in one.documents], one.n_bad) == (["e"], 4)


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match=r"expected a folder with \.txt and \.ann files"):
        read_annotated(tmp_path, format="brat")
