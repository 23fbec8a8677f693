import logging
from pathlib import Path

import pytest

from genre_x.errors import DataError, UnknownNameError
from genre_x.readers import READERS, guess_format, read_annotated
from genre_x.readers.source import find_source

SENTENCE = '{"text": "Mira Sol lives in Nordvik.", "triples": [["Mira Sol", "lives in", "Nordvik"]]}\n'
SPERT = '[{"tokens": ["Bo"], "entities": [], "relations": []}]'
SCHEMA = {"entity_labels": {"PER": "", "LOC": ""}, "relation_labels": {"Lives_In": {}}}
RECORD = (
    '{"id": "r", "text": "Mira in Nordvik", "entities": [{"start": 0, "end": 4, "label": "PER"}, '
    '{"start": 8, "end": 15, "label": "LOC"}], "relations": [{"label": "Lives_In", "head": 0, "tail": 1}]}\n'
)


def test_every_format_has_a_test():
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert set(READERS) - tested == {"common", "sentences", "scierc_documents"}  # here, here, and in test_scierc


def test_an_unknown_format_is_named():
    with pytest.raises(UnknownNameError, match=r"Unknown data format 'sperd'\. Did you mean 'spert'\?"):
        read_annotated("x", format="sperd")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", "{}"),
        ("x.json", "{"),
        ("x.txt", "hello"),
        ("x.csv", "a,b\n"),
        ("x.jsonl", '{"text": 1}'),
        ("x.xml", "<a/>"),
        ("x", ""),
    ],
)
def test_a_format_that_can_not_be_told(write, name, content):
    with pytest.raises(DataError, match=r"can't be told from its content\. Name the format, one of: common, sentences, spert"):
        guess_format(write(name, content))


def test_two_formats_in_one_folder(write):
    write("corpus/schema.json", SCHEMA)
    folder = write("corpus/a.ann", "").parent
    with pytest.raises(DataError, match="could be common or brat. Name the format, one of: common"):
        guess_format(folder)


def test_nothing_there(tmp_path):
    for data_format in (None, "csv", "brat", "common"):
        with pytest.raises(DataError, match="There is no file or folder"):
            read_annotated(tmp_path / "nothing", format=data_format)


def test_a_format_is_told_from_the_split_of_a_folder(write):
    write("corpus/mini_dev.json", SPERT)
    folder = write("corpus/mini_train.json", SPERT).parent
    assert guess_format(folder, split="train") == "spert"
    with pytest.raises(DataError, match=r"found 2\. There: mini_dev\.json, mini_train\.json\. Name one, or a split"):
        guess_format(folder)


def test_files_of_splits(write):
    train = write("c/TRAIN_FILE.TXT", "")
    folder = train.parent
    write("c/pretrained.txt", "")
    assert find_source(folder, (".txt",), "train") == train
    assert find_source(folder, (".txt",), "pretrained").name == "pretrained.txt"
    write("c/train_extra.txt", "")
    write("c/extra.txt", "")
    assert find_source(folder, (".txt",), "extra").name == "extra.txt"
    with pytest.raises(DataError, match=r"files of the split 'train', found 2"):
        find_source(folder, (".txt",), "train")
    (folder / "train_extra.txt").unlink()
    (folder / "extra.txt").unlink()
    with pytest.raises(DataError, match=r"files of the split 'dev', found 0\. There: TRAIN_FILE\.TXT, pretrained\.txt"):
        find_source(folder, (".txt",), "dev")
    with pytest.raises(DataError, match="is a file, so it has no split 'train'"):
        find_source(train, (".txt",), "train")


def test_sentences(write, task):
    path = write("mine.jsonl", SENTENCE)
    assert guess_format(path) == "sentences"
    (one,) = read_annotated(path, task=task)
    assert one.documents[0].triples[0].tail.span == (18, 25)
    with pytest.raises(DataError, match="sentences need the task"):
        read_annotated(path)


def test_sentences_with_faults(write, faults_of, task):
    path = write("mine.jsonl", '{"text": "x"}\n' + SENTENCE + SENTENCE.replace("Nordvik.", "Oslo.") + "[\n")
    faults = faults_of(path, "sentences", task=task)
    assert faults[0] == "FILE, line 1: the key 'triples' is missing"
    assert faults[1].startswith("FILE, line 3: 'Nordvik' is not in the text")
    assert faults[2].startswith("FILE, line 4: not valid JSON")
    (one,) = read_annotated(path, format="sentences", task=task, skip_bad=True)
    assert ([document.id for document in one.documents], one.n_bad, len(one.faults)) == (["mine-2"], 3, 3)


def test_the_common_form_as_a_folder_and_as_a_file(write):
    write("homes/schema.json", SCHEMA)
    path = write("homes/dev.jsonl", RECORD)
    assert guess_format(path.parent) == guess_format(path) == "common"
    by_split = read_annotated(path.parent, split="dev")
    assert read_annotated(path) == read_annotated(path.parent) == by_split
    assert by_split[0].documents[0].triples[0].relation == "lives in"


def test_the_common_form_with_faults(write, caplog):
    write("homes/schema.json", SCHEMA)
    wrong_index = RECORD.replace('"tail": 1', '"tail": -1')
    path = write("homes/dev.jsonl", RECORD + wrong_index + RECORD.replace("Lives_In", "Kill"))
    with pytest.raises(DataError) as caught:
        read_annotated(path)
    assert [fault.replace(str(path), "FILE") for fault in caught.value.faults] == [
        "FILE, line 2: relations[0]: the tail is entity -1, but there are 2 entities",
        "FILE, line 3: relation label 'Kill' is neither a name nor an alias. Known: lives in",
    ]
    with caplog.at_level(logging.WARNING):
        (one,) = read_annotated(path, skip_bad=True)
    assert (len(one.documents), one.n_bad, one.faults) == (1, 2, caught.value.faults)
    assert caplog.messages == [f"{path}: 2 of 3 records are bad and left out. The first fault: {one.faults[0]}"]


def test_the_common_form_of_a_real_data_set(shared_dataset):
    folder = shared_dataset("conll04")
    (one,) = read_annotated(folder, split="dev")
    assert len(one.documents) == 231
    assert one.n_bad == 0
