from hypothesis import given
from hypothesis import strategies as st

from genre_x import Mention, Triple
from genre_x.readers import guess_format, read_annotated
from genre_x.readers.semeval2010 import parse
from genre_x.readers.source import Piece

FILE = (
    '1\t"The <e1>fire</e1> came from a <e2>spark</e2>."\r\n'
    "Cause-Effect(e2,e1)\r\n"
    'Comment: not "easy"\r\n'
    "\r\n"
    '2\t"A <e1>wheel</e1> of the <e2>cart</e2> broke."\r\n'
    "Component-Whole(e1,e2)\r\n"
    "Comment:\r\n"
    "\r\n"
    '8\t"She said "no" to <e1>tea</e1> and <e2>rain</e2>."\r\n'
    "Other\r\n"
    "Comment:\r\n"
)


def test_sentences(write, round_trip):
    path = write("TRAIN_FILE.TXT", FILE)
    assert guess_format(path) == "semeval2010"
    sets = read_annotated(path.parent, split="train")
    first, second, third = sets[0].documents
    assert (first.id, first.text) == ("1", "The fire came from a spark.")
    fire, spark = Mention(4, 8, "fire"), Mention(21, 26, "spark")
    assert first.mentions == (fire, spark)
    assert first.triples == (Triple(spark, "cause effect", fire),)
    assert second.triples == (Triple(Mention(2, 7, "wheel"), "component whole", Mention(15, 19, "cart")),)
    assert (third.id, third.text, third.triples) == ("8", 'She said "no" to tea and rain.', ())
    assert third.mentions == (Mention(17, 20, "tea"), Mention(25, 29, "rain"))
    assert sets[0].schema.entity_types == ()
    round_trip(sets)


def test_all_faults_at_once(write, faults_of):
    path = write(
        "x.txt",
        FILE
        + '9\t"No <e1>end and <e2>two</e2> <e2>two</e2>."\nOther\n'
        + '10\t"<e1>a</e1> <e2>b</e2>"\nCause-Effect(e1,e1)\n'
        + '11\t"<e1>a</e1> <e2>b</e2>"\nComment:\n'
        + '12\t"<e1></e1> <e2>b</e2>"\nOther\n',
    )
    assert faults_of(path, "semeval2010") == [
        "FILE, line 12: expected one <e1>…</e1> in the sentence, found <e1> <e2> </e2> <e2> </e2>",
        "FILE, line 14: expected Relation(e1,e2), Relation(e2,e1) or Other, found 'Cause-Effect(e1,e1)'",
        "FILE, line 16: expected one line with the relation after the sentence, found 0: []",
        "FILE, line 18: expected one <e1>…</e1> in the sentence, found <e1> </e1> <e2> </e2>",
    ]
    assert faults_of(write("y.txt", "hello\nOther\n"), "semeval2010") == [
        "FILE, line 1: expected a number, a tab and \"a sentence\", found 'hello'"
    ]


PART = st.text(
    st.characters(codec="utf-8", exclude_characters='<>\r\n"', exclude_categories=("C", "Z")), min_size=1, max_size=5
)


@given(PART, PART, PART, PART, PART)
def test_marks_leave_the_text_as_it_is(before, first, between, second, after):
    marked = f"{before}<e1>{first}</e1>{between}<e2>{second}</e2>{after}"
    (record,) = parse(Piece("p", [f'7\t"{marked}"', "Product-Producer(e2,e1)"]))
    assert record.document.text == before + first + between + second + after
    (triple,) = record.document.triples
    assert (triple.head.text, triple.tail.text) == (second, first)
    assert triple.tail.start_char == len(before)
