from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_x import Mention
from genre_x.grounding import chunks, finder, nearest_pair, normalized, occurrences, readable

ODD = st.sampled_from(
    [*list("a1_ \n\t\x1c\x85\xa0\u2028\u3000\"\\'-.東ひ가ไ́\u200d"), "👩\u200d👧", "🇩🇪", "Bob", "न्ष", "U.S.", "Inc.", ","]
)
TEXTS = st.one_of(st.text(max_size=30), st.lists(ODD, max_size=20).map("".join))


@given(TEXTS)
def test_chunks_cover_the_text_without_gap_or_overlap(text):
    spans = chunks(text)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans)
    assert all(left[1] == right[0] for left, right in pairwise(spans))


@given(TEXTS)
def test_a_chunk_is_white_space_or_has_none(text):
    for start, end in chunks(text):
        piece = text[start:end]
        assert piece.isspace() or not any(character.isspace() for character in piece)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("Bob's dog", ["Bob", "'", "s", " ", "dog"]),
        ("U.S.-based", ["U.S.", "-", "based"]),
        ("Gary, Ind., U.S.A.", ["Gary", ",", " ", "Ind.", ",", " ", "U.S.A."]),
        ("Acme Inc. in É.U. met", ["Acme", " ", "Inc.", " ", "in", " ", "É.U.", " ", "met"]),
        ("E\u0301.U. is", ["E\u0301.U.", " ", "is"]),
        ("米国U.S.の", ["米", "国", "U.S.", "の"]),
        ("东.京.", ["东", ".", "京", "."]),
        ("at Ltd.'s, 5.,", ["at", " ", "Ltd.", "'", "s", ",", " ", "5", ".", ","]),
        ("She called Mo. He ran.", ["She", " ", "called", " ", "Mo", ".", " ", "He", " ", "ran", "."]),
        ("in Gary, Ind.", ["in", " ", "Gary", ",", " ", "Ind", "."]),
        ("Anna. she", ["Anna", ".", " ", "she"]),
        ("Indiana. X. a.b.c", ["Indiana", ".", " ", "X", ".", " ", "a", ".", "b", ".", "c"]),
        ("a_b1 \n\t c", ["a_b1", " \n\t ", "c"]),
        ("ドイツとIBM社", ["ド", "イ", "ツ", "と", "IBM", "社"]),
        ("삼성은", ["삼", "성", "은"]),
        ("Cafe\u0301s", ["Cafe\u0301s"]),
        ("👩‍👩‍👧!", ["👩‍👩‍👧", "!"]),
        ("3,5 km²", ["3", ",", "5", " ", "km²"]),
        ("Москва, Россия", ["Москва", ",", " ", "Россия"]),
        ("שלום עולם", ["שלום", " ", "עולם"]),
    ],
)
def test_chunks_of_many_scripts(text, pieces):
    assert [text[start:end] for start, end in chunks(text)] == pieces


@given(st.text())
def test_normalized_is_stable_and_agrees_with_python_on_white_space(text):
    assert normalized(text) == " ".join(text.split())
    assert normalized(normalized(text)) == normalized(text)


@pytest.mark.parametrize("space", list("\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2028\u2029\u202f\u205f\u3000"))
def test_every_white_space_character_counts_as_a_space(space):
    text = f"Ada{space}Bob"
    assert normalized(f"{space}Ada{space}{space}Bob{space}") == "Ada Bob"
    assert occurrences(text, "Ada Bob") == [(0, 7)]
    assert occurrences("Ada Bob", text) == [(0, 7)]


@given(TEXTS, st.data())
def test_every_run_of_chunks_is_found_where_it_stands(text, data):
    spans = chunks(text)
    if not spans:
        return
    first = data.draw(st.integers(0, len(spans) - 1))
    last = data.draw(st.integers(first, len(spans) - 1))
    start, end = spans[first][0], spans[last][1]
    if text[start:end].strip() != text[start:end] or not text[start:end]:
        return
    assert (start, end) in occurrences(text, text[start:end])


@given(TEXTS, TEXTS)
def test_what_is_found_reads_like_the_fragment(text, fragment):
    for start, end in occurrences(text, fragment):
        assert normalized(text[start:end]) == normalized(fragment)


@pytest.mark.parametrize("fragment", ["", " ", "\n"])
def test_nothing_is_found_nowhere(fragment):
    assert occurrences("Ada met Bob.", fragment) == []


@pytest.mark.parametrize(
    ("text", "fragment", "spans"),
    [
        ("Ana ate a banana. Ana!", "Ana", [(0, 3), (18, 21)]),
        ("Ana ate", "ana", []),
        ("banana", "ana", []),
        ("New\n  York", "New York", [(0, 10)]),
        ("New York", " New\tYork\n", [(0, 8)]),
        ("a.c abc", "a.c", [(0, 3)]),
        ("x (y) [z] $1 ^ *", "(y) [z] $1 ^ *", [(2, 16)]),
        ("ha ha ha", "ha ha", [(0, 5), (3, 8)]),
        ("Cafe\u0301", "Cafe", []),
        ("東京都", "京", [(1, 2)]),
    ],
)
def test_occurrences(text, fragment, spans):
    assert occurrences(text, fragment) == spans


def test_the_nearest_pair_is_taken():
    assert nearest_pair([(0, 3), (40, 43)], [(50, 54)]) == ((40, 43), (50, 54))
    assert nearest_pair([(60, 63)], [(0, 4), (50, 54)]) == ((60, 63), (50, 54))


def test_of_pairs_at_the_same_distance_the_first_in_the_text_is_taken():
    assert nearest_pair([(0, 3), (20, 23)], [(8, 11), (28, 31)]) == ((0, 3), (8, 11))


def test_a_pair_that_overlaps_comes_last():
    assert nearest_pair([(0, 10)], [(4, 8), (90, 94)]) == ((0, 10), (90, 94))
    assert nearest_pair([(0, 10)], [(4, 8)]) == ((0, 10), (4, 8))


def test_one_span_is_no_pair():
    assert nearest_pair([(0, 3)], [(0, 3)]) is None
    assert nearest_pair([], [(0, 3)]) is None
    assert nearest_pair([(0, 3), (9, 12)], [(0, 3), (9, 12)]) == ((0, 3), (9, 12))


def test_without_given_mentions_the_whole_text_is_searched():
    assert finder("Ada met Ada.")("Ada", "person") == [(0, 3), (8, 11)]


def test_with_given_mentions_only_they_are_entities():
    find = finder("Ada met Ada.", [Mention(8, 11, "Ada", "person")])
    assert find("Ada", "person") == [(8, 11)]
    assert find("Ada", "place") == []
    assert find("met", "person") == []
    assert find("met", None) == [(4, 7)]  # a literal may be any span


def test_a_given_mention_without_a_type_has_every_type():
    find = finder("Ada\nL met", [Mention(0, 5, "Ada\nL")])
    assert find("Ada L", "person") == find("Ada L", "place") == [(0, 5)]


def test_readable_replaces_lone_surrogates_one_by_one():
    assert readable("a\ud83db\udc00") == "a\ufffdb\ufffd"
    assert readable("plain 😀") == "plain 😀"
