import pytest

from genre_x import Mention, Triple
from genre_x.errors import DataError
from genre_x.readers import guess_format, read_annotated


def benchmark(*entries):
    return f"<benchmark>\n<entries>{''.join(entries)}</entries>\n</benchmark>\n"


def entry(eid, rows, *texts, attributes='lang="en"'):
    triples = "".join(f"<mtriple>{row}</mtriple>" for row in rows)
    lexes = "".join(f'<lex comment="good" lid="Id{n}" {attributes}>{text}</lex>' for n, text in enumerate(texts, start=1))
    original = "<originaltripleset><otriple>a | b | c</otriple></originaltripleset>"
    return f'<entry category="X" eid="{eid}">{original}<modifiedtripleset>{triples}</modifiedtripleset>{lexes}</entry>'


ROWS = ["Mira_Sol | birthPlace | Nordvik", 'Mira_Sol | motto | "Row on"@en']


def test_every_text_is_a_document(write, round_trip):
    path = write("x.xml", benchmark(entry("Id1", ROWS, "Mira Sol, born in Nordvik, says Row on.", "She is  from\nNordvik.")))
    assert guess_format(path) == "webnlg"
    sets = read_annotated(path)
    first, second = sets[0].documents
    assert (first.id, first.text, first.language) == ("x/Id1/Id1", "Mira Sol, born in Nordvik, says Row on.", "en")
    mira = Mention(0, 8, "Mira Sol")
    assert first.triples == (
        Triple(mira, "birth place", Mention(18, 25, "Nordvik")),
        Triple(mira, "motto", Mention(32, 38, "Row on")),
    )
    assert (second.id, second.text, second.triples) == ("x/Id1/Id2", "She is from Nordvik.", ())
    assert sets[0].unanchored == {"x/Id1/Id2": 2}
    round_trip(sets)


def test_a_folder_of_files_and_a_split_of_it(write):
    for split in ("train", "dev"):
        for size in ("1triples", "2triples"):
            text = f"Mira Sol was born in Nordvik, {split} {size}."
            write(f"en/{split}/{size}/Person.xml", benchmark(entry("Id1", ROWS[:1], text, attributes="")))
    folder = write("en/README.md", "").parent
    assert guess_format(folder) == "webnlg"
    (one,) = read_annotated(folder, split="dev")
    assert [document.id for document in one.documents] == ["1triples/Person/Id1/Id1", "2triples/Person/Id1/Id1"]
    assert one.documents[0].language is None
    assert len(read_annotated(folder)[0].documents) == 4
    with pytest.raises(DataError, match=r"has no folder 'test'\. It has: dev, train"):
        read_annotated(folder, split="test")


def test_the_enriched_edition(write):
    text = "<references/><text>Mira Sol was born in Nordvik.</text><template>AGENT-1 …</template>"
    (one,) = read_annotated(write("x.xml", benchmark(entry("Id1", ROWS[:1], text))))
    assert one.documents[0].text == "Mira Sol was born in Nordvik."
    assert len(one.documents[0].triples) == 1


def test_all_faults_at_once(write, faults_of):
    content = benchmark(
        entry("Id1", ["a | b"], "a b"),
        entry("Id2", [], "a"),
        entry("Id3", ROWS),
        entry("Id4", ROWS, ""),
        entry("Id5", ROWS, "ok"),
    )
    assert faults_of(write("x.xml", content), "webnlg") == [
        "FILE, entry 'Id1': expected 'head | relation | tail' in <mtriple>, found 'a | b'",
        "FILE, entry 'Id2': there is no <mtriple> in a <modifiedtripleset>",
        "FILE, entry 'Id3': there is no <lex>: the entry has no text",
        "FILE, entry 'Id4': <lex> number 1 has no text",
    ]


def test_what_is_no_xml(write, tmp_path):
    with pytest.raises(DataError, match="not valid XML: .*line 1"):
        read_annotated(write("x.xml", "<benchmark>"), format="webnlg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there is no \.xml file"):
        read_annotated(tmp_path / "empty", format="webnlg")


def test_the_whole_set_without_anchored_triples_needs_a_task(write, task):
    path = write("x.xml", benchmark(entry("Id1", ROWS, "Nothing of it.")))
    with pytest.raises(DataError, match=r"there is no relation in its 1 documents.*Give a task"):
        read_annotated(path)
    (one,) = read_annotated(path, task=task)
    assert one.unanchored == {"x/Id1/Id1": 2}
