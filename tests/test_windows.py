import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre_x.grounding import chunks
from genre_x.windows import SentenceSplitter, windows


def words(text):
    return len(text.split())


def sentences_of(lengths):
    """A text of sentences `s0_0 s0_1.` with so many words each, and their ranges."""
    sentences = [" ".join(f"s{i}w{j}" for j in range(n)) + "." for i, n in enumerate(lengths)]
    starts = [sum(len(s) + 1 for s in sentences[:i]) for i in range(len(sentences))]
    return " ".join(sentences), [(start, start + len(s)) for start, s in zip(starts, sentences, strict=True)]


@settings(max_examples=150)
@given(
    lengths=st.lists(st.integers(1, 12), max_size=12),
    max_tokens=st.integers(1, 20),
    overlap=st.integers(0, 3),
    count=st.sampled_from([words, len, lambda text: len(text.encode()) // 3 + 1]),
)
def test_windows_cover_every_sentence_and_keep_to_the_budget(lengths, max_tokens, overlap, count):
    text, sentences = sentences_of(lengths)
    found = windows(text, sentences, count, max_tokens=max_tokens, overlap=overlap)
    covered = {position for start, end in found for position in range(start, end)}
    assert all(position in covered for start, end in sentences for position in range(start, end))
    for start, end in found:
        assert 0 <= start < end <= len(text)
        # Nothing is shorter than a chunk, so a window of one chunk may be over the budget.
        assert count(text[start:end]) <= max_tokens or len(chunks(text[start:end])) == 1
    assert found == sorted(set(found))
    assert all(left[1] < right[1] for left, right in itertools.pairwise(found))


@settings(max_examples=100)
@given(text=st.text(min_size=1, max_size=60), max_tokens=st.integers(1, 8))
def test_windows_of_any_text_cover_what_is_not_white_space(text, max_tokens):
    sentences = [(0, len(text))]
    found = windows(text, sentences, lambda piece: len(piece.encode("utf-8", "surrogatepass")), max_tokens=max_tokens)
    covered = {position for start, end in found for position in range(start, end)}
    assert covered == set(range(len(text)))
    for cut in {limit for window in found for limit in window}:
        inside = [text[start:end] for start, end in chunks(text) if start < cut < end]
        assert all(len(word.encode("utf-8", "surrogatepass")) > max_tokens for word in inside)  # else words stay whole


def test_a_short_text_is_one_window():
    text, sentences = sentences_of([3, 2, 4])
    assert windows(text, sentences, words, max_tokens=9) == [(0, len(text))]


def test_neighbouring_windows_share_as_many_sentences_as_asked():
    text, sentences = sentences_of([2] * 6)
    for overlap, firsts in ((0, [0, 3]), (1, [0, 2, 4]), (2, [0, 1, 2, 3])):
        found = windows(text, sentences, words, max_tokens=6, overlap=overlap)
        assert [start for start, _ in found] == [sentences[first][0] for first in firsts]


def test_the_overlap_gives_way_where_it_does_not_fit():
    text, sentences = sentences_of([5, 5, 5])
    assert windows(text, sentences, words, max_tokens=6, overlap=1) == sentences


def test_a_sentence_longer_than_the_budget_is_cut_with_half_overlaps():
    text, sentences = sentences_of([10])
    found = windows(text, sentences, words, max_tokens=4)
    pieces = [text[start:end].split() for start, end in found]
    assert all(len(piece) <= 4 for piece in pieces)
    for left, right in itertools.pairwise(pieces):
        assert len(set(left) & set(right)) >= 2  # two neighbouring words are together in some piece


@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_no_window_runs_over_the_end_of_a_paragraph(overlap):
    text = "A b. C d.\n\nE f. G h.\nI j."
    sentences = [(0, 4), (5, 9), (11, 15), (16, 20), (21, 25)]
    assert windows(text, sentences, words, max_tokens=50, overlap=overlap) == [(0, 9), (11, 25)]


def test_sentences_are_put_together_up_to_the_aim_and_longer_ones_stay_whole():
    text, sentences = sentences_of([2, 2, 7, 2])
    found = windows(text, sentences, words, max_tokens=8, aim_tokens=4, overlap=0)
    assert found == [(sentences[0][0], sentences[1][1]), sentences[2], sentences[3]]


def test_no_sentence_no_window():
    assert windows("  ", [], words, max_tokens=4) == []


def test_white_space_between_sentences_counts():
    text, sentences = "aa" + " " * 9 + "bb", [(0, 2), (11, 13)]
    assert windows(text, sentences, len, max_tokens=5, overlap=0) == sentences


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("en", "Ada met Bob. They left!  Why?", ["Ada met Bob.", "They left!", "Why?"]),
        ("en", "A headline\n\nThe story begins.", ["A headline", "The story begins."]),
        ("en", "  \n\n \n\n", []),
        ("en", "", []),
        ("de", "Er kam. Sie ging.", ["Er kam.", "Sie ging."]),
        ("zh", "他去了北京。她留下了。", ["他去了北京。", "她留下了。"]),
        ("ja", "東京へ行く。京都に住む。", ["東京へ行く。", "京都に住む。"]),
        ("en", "He met Mr. Bob. No.", ["He met Mr. Bob.", "No."]),
        ("pt-BR", "Ela viu o Sr. Silva. Saiu.", ["Ela viu o Sr. Silva.", "Saiu."]),
        ("hi", "वह गया। वह आई।", ["वह गया।", "वह आई।"]),
        ("qq", "An unknown language. Still split.", ["An unknown language.", "Still split."]),
    ],
)
def test_sentences_of_many_languages(language, text, sentences):
    assert [text[start:end] for start, end in SentenceSplitter(language).split(text)] == sentences


def test_sentences_of_any_text_are_in_order_and_leave_only_white_space_out():
    splitter = SentenceSplitter("en")

    @settings(max_examples=150)
    @given(st.text(st.sampled_from(list("ab.!? \n\t\r\x1f\u2028\u3000。\u0301'\")😀"))) | st.text())
    def check(text):
        position = 0
        for start, end in splitter.split(text):
            assert text[position:start].strip() == ""
            assert text[start:end].strip() == text[start:end] != ""
            position = end
        assert text[position:].strip() == ""

    check()


def test_a_word_that_is_too_long_is_cut_inside():
    text = f"Read {'ACGT' * 100} now."
    found = windows(text, [(0, len(text))], len, max_tokens=50)
    assert max(end - start for start, end in found) <= 50
    assert set(range(len(text))) == {place for start, end in found for place in range(start, end)}


def test_a_text_without_sentence_ends_is_read_in_linear_time():
    def counted(n_words):
        n_read = 0

        def count(piece):
            nonlocal n_read
            n_read += len(piece)
            return words(piece)

        text = " ".join(["word"] * n_words)
        windows(text, [(0, len(text))], count, max_tokens=40)
        return n_read

    assert counted(4000) < 2.5 * counted(2000)


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\n \t\n"])
def test_a_blank_line_ends_a_sentence_and_a_window_whatever_the_line_ends(blank):
    text = f"A title{blank}Ada works for IBM. She left."
    sentences = SentenceSplitter("en").split(text)
    assert [text[start:end] for start, end in sentences] == ["A title", "Ada works for IBM.", "She left."]
    assert [text[start:end] for start, end in windows(text, sentences, words, max_tokens=50)] == [
        "A title",
        "Ada works for IBM. She left.",
    ]
