import gzip
import logging

import pytest
from pydantic import BaseModel, StrictInt

from genre_x.errors import DataError, SchemaError
from genre_x.records import BadRecords, parse_object, read_json, read_lines, read_text, validated


def bad_records(n_faults):
    bad = BadRecords("file")
    for number in range(n_faults):
        with bad.record(f"file, line {number + 1}"):
            raise DataError("broken")
    return bad


def test_lines_of_a_compressed_file_have_their_places(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n\n{"a": 2}\n'))
    lines = [(place, parse_object(line)) for place, line in read_lines(path)]
    assert lines == [(f"{path}, line 1", {"a": 1}), (f"{path}, line 3", {"a": 2})]


def test_one_fault_is_the_whole_message():
    with pytest.raises(DataError) as caught:
        bad_records(1).settle(5, skip_bad=False)
    assert str(caught.value) == "file, line 1: broken"


def test_all_faults_are_raised_at_once():
    with pytest.raises(DataError) as caught:
        bad_records(23).settle(7, skip_bad=False)
    lines = str(caught.value).split("\n")
    assert lines[0] == "file: 23 of 30 records are bad; 23 faults"
    assert lines[1] == "  - file, line 1: broken"
    assert len(lines) == 22
    assert lines[-1] == "  … and 3 more"
    assert len(caught.value.faults) == 23


def test_faults_of_one_record_count_as_one_bad_record():
    bad = BadRecords("file")
    with bad.record("line 1"):
        raise DataError("a; b", faults=["a", "b"])
    with bad.record("line 2"):
        raise SchemaError("c")
    assert bad.n_bad == 2
    assert bad.faults == ["line 1: a", "line 1: b", "line 2: c"]


def test_bad_records_are_skipped_with_one_line_in_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        bad_records(2).settle(3, skip_bad=True)
    assert caplog.messages == ["file: 2 of 5 records are bad and left out. The first fault: file, line 1: broken"]


def test_nothing_but_bad_records_is_an_error_in_any_case():
    with pytest.raises(DataError, match="broken"):
        bad_records(1).settle(0, skip_bad=True)


def test_an_empty_file_is_an_error():
    with pytest.raises(DataError, match="file: there are no records"):
        BadRecords("file").settle(0, skip_bad=True)


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz"])
@pytest.mark.parametrize("read", [read_text, read_json, lambda path: list(read_lines(path))])
def test_a_file_that_can_not_be_read(tmp_path, name, read):
    with pytest.raises(DataError, match="Can't read"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(gzip.compress(b"\xff") if name.endswith("gz") else b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read(tmp_path / name)


def test_a_file_that_is_only_called_compressed(tmp_path):
    (tmp_path / "x.gz").write_bytes(b"plain")
    with pytest.raises(DataError, match="Can't read"):
        list(read_lines(tmp_path / "x.gz"))


def test_line_ends_stay_as_they_are(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"a\r\nb")
    assert read_text(tmp_path / "x.txt") == "a\r\nb"


class Shape(BaseModel):
    sides: list[StrictInt]
    name: str


def test_every_fault_of_a_value_names_its_field():
    with pytest.raises(DataError) as caught:
        validated(Shape, {"sides": [1, "2"]})
    assert caught.value.faults == (
        "sides[1]: expected a valid integer, found '2'",
        "the key 'name' is missing",
    )
