"""The report of made-up result files, word for word; and that the committed one is current."""

import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib")

from eval.report.page import build, html, markdown, write
from eval.report.parts import Cell, anchor
from eval.report.published import Published
from eval.report.readme import quality_table, render, training_table
from eval.report.results import load_result, load_results
from eval.report.targets import Targets
from eval.sentences import ROOT
from genre_x.document import Reason

VOID = {"meta", "br", "hr", "img", "path", "use", "rect"}


def made(folder, published_file, targets_file):
    published, targets = Published.load(published_file), Targets.load(targets_file).targets
    return build(load_results(folder), published=published, targets=targets)


@pytest.fixture(scope="module")
def sections(lasting_folder, lasting_files):
    return made(lasting_folder, *lasting_files)


def tables(sections, title):
    """The tables of a section, as lines."""
    every = [*sections, *(inner for section in sections for inner in section.sections)]
    (section,) = (one for one in every if one.title == title)
    return [part.markdown.splitlines() for part in section.parts if part.kind == "table"]


def test_a_data_set_beside_published_systems(sections):
    ours, published = tables(sections, "Toy: protocol supervised, entities generated")
    assert ours == [
        "| model | split | documents | relations | shots | answers | P | R | F1 strict | boundaries | text | macro "
        "| with rejections | false-positive rate | rejections | result file |",
        "| " + " | ".join(["---"] * 16) + " |",
        "| default.3 | test | 7 | 3 | 0 | 1 | 75.0 | 60.0 | 66.7 (50.0–81.2) | 88.9 | 88.9 | 50.0 | 54.5 "
        "| 25.0 (0.0–75.0); 1 of 4 | 2 | `quality.toy.default.json` |",
    ]
    assert published[2:] == [
        "| Alike | 110M | 66.0 | strict | test | supervised | train | generated | nothing known | alike/alike: README |",
        "| Other | 7B | 70.25 | triplets | not stated | zero-shot | – | given | protocol zero-shot, ours supervised; split not "
        "stated, ours test; entities given, ours generated; triples compared as the source does | a page |",
    ]


def test_what_can_be_compared_is_said(sections):
    page = markdown(sections)
    assert "Nothing is known that keeps ours from being compared with Alike, metric by metric." in page
    assert "Not comparable, for the reasons in the table: Other." in page
    assert "No published score here can be compared with ours as it stands." in page  # the old result states no protocol
    assert "A note on Toy." in page


def test_missing_keys_of_old_results_are_dashes(sections):
    ours, _ = tables(sections, "Toy: protocol not stated, entities not stated")
    assert ours[2] == ("| base | test | 7 | – | – | 1 | 0.0 | 0.0 | 0.0 | – | – | – | – | – | 0 | `quality.toy.old.json` |")


def test_kinds_of_errors_and_every_reason_of_rejection(sections):
    errors, rejections = tables(sections, "Kinds of errors")
    assert errors[2:] == [
        "| `quality.toy.default.json` | false positives | 1 | 0 | 0 | 0 | 0 | 0 | – |",
        "| `quality.toy.default.json` | false negatives | 1 | 0 | 0 | 0 | – | – | 1 |",
    ]
    assert rejections[0] == "| result file | " + " | ".join(reason.value.replace("_", " ") for reason in Reason) + " |"
    assert rejections[2] == "| `quality.toy.default.json` | 0 | 0 | 0 | 0 | 0 | 2 |"


def test_relations_with_most_gold_come_first(sections):
    (table,) = tables(sections, "Relation by relation")
    assert table[2:] == [
        "| knows | 0.0 | 0.0 | 0.0 | 0 | 0 | 5 |",
        r"| met \| saw | 75.0 | 60.0 | 66.7 | 3 | 1 | 2 |",
        r"| \<born> in | 0.0 | 0.0 | 0.0 | 0 | 0 | 4 |",
    ]


def test_languages_come_from_the_data_set(sections):
    (table,) = tables(sections, "By language")
    assert table[2] == "| de | toy | test | default.3 | 7 | 66.7 (50.0–81.2) | 88.9 | `quality.toy.default.json` |"


def test_languages_of_the_documents_come_first(folder, published_file):
    path = folder / "quality.toy.default.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"languages": ["es", "it"]}), encoding="utf-8")
    (table,) = tables(build(load_results(folder), published=Published.load(published_file), targets=()), "By language")
    assert [row.split(" | ")[:4] for row in table[2:]] == [
        ["| de", "toy", "test", "base"],  # a file that does not say it: as published.yaml has it
        ["| es, it", "toy", "test", "default.3"],
    ]


def test_each_set_of_a_result_has_its_own_language(folder, published_file):
    result = json.loads((folder / "quality.toy.default.json").read_text(encoding="utf-8"))
    part = {"scores": {"strict": {"f1": 0.25}, "n_documents": 3}}
    result |= {"dataset": "toy, joy.jsonl", "sets": [{"dataset": name, **part} for name in ("joy.jsonl", "unknown", "toy")]}
    (folder / "quality.both.json").write_text(json.dumps(result), encoding="utf-8")
    text = published_file.read_text(encoding="utf-8").replace("systems:", "  joy: {title: Joy, language: da}\nsystems:")
    published_file.write_text(text, encoding="utf-8")
    (table,) = tables(build(load_results(folder), published=Published.load(published_file), targets=()), "By language")
    assert table[2:4] == [
        "| da | joy | – | default.3 | 3 | 25.0 | – | `quality.both.json` |",
        "| de | toy | – | default.3 | 3 | 25.0 | – | `quality.both.json` |",
    ]


def test_calibration(sections):
    (table,) = tables(sections, "Calibration")
    assert table[2:] == ["| `quality.toy.default.json` | 4 | 3 | 0 | 0.247 | 0.012 | yes | isotonic | toy dev | – |"]


def test_training_runs_and_what_they_forgot(sections):
    (table,) = tables(sections, "Training runs")
    assert table[2:] == [
        "| `training.a.json` | base | `re.v1@0a1b2c3d` | rows | 90 | 1234 | 2.0 | 13 | 2 | 102 | 0.0 | 66.7 | 66.7 | 60.0 |"
    ]


def test_what_was_tried_differs_from_the_reference(sections):
    (table,) = tables(sections, "What was tried")
    assert table[2:] == [
        "| reference | (the reference) | 66.7 (50.0–81.2) | – | 90000 | 6.5 | `tried.reference.json` |",
        "| epochs | optimizer.epochs: 1 → 3 | 66.7 (50.0–81.2) | – | 90000 | 6.5 | `tried.epochs.json` |",
        r"| mixture | train.sources\[1\].repeat: nothing → 2 | 66.7 (50.0–81.2) | – | 90000 | 6.5 | `tried.mixture.json` |",
    ]


def test_every_result_says_what_was_run(sections):
    (table,) = tables(sections, "What was run")
    assert table[2] == (
        "| `quality.toy.default.json` | default.3 | `re.v1@0a1b2c3d` | rows | toy | test | supervised | generated | 5 | 0.0 "
        "| `abcdef1` | genre-x 0.1.0, torch 2.13.0+cpu |"
    )
    assert len(table) == 2 + 7


def test_files_of_no_known_kind_are_listed(sections):
    assert tables(sections, "Other result files")[0][2:] == ["| `unheard-of.json` |"]


def test_no_number_is_from_nowhere(sections, lasting_folder, lasting_files):
    """Each number of the page is in an input, as it stands or as a percentage, in minutes or rounded; or a count of items."""
    texts = [path.read_text(encoding="utf-8") for path in (*lasting_files, *lasting_folder.glob("*.json"))]
    known = {token for text in texts for token in re.findall(r"\d+(?:\.\d+)?", text)}
    for token in list(known):
        value = float(token)
        known |= {f"{100 * value:.1f}", f"{value:.3f}", f"{value / 60:.0f}"}
    known |= {"3", "102"}  # relations that were asked for; median of tokens per second
    page = markdown(sections).replace("F1", "").replace("f1.", "")
    assert set(re.findall(r"\d+(?:\.\d+)?", page)) <= known


def test_published_scores_that_can_be_compared_are_filled(sections):
    first = sections[1].sections[0]
    (figure,) = (part for part in first.parts if part.kind == "figure")
    assert "filled diamonds: published, nothing known" in figure.caption.markdown
    assert "open diamonds: published, not comparable" in figure.caption.markdown
    assert "Alike (strict, supervised)" in figure.svg


def test_two_runs_write_the_same_bytes(sections, lasting_folder, lasting_files, tmp_path_factory):
    folders = [tmp_path_factory.mktemp("out") for _ in range(2)]
    write(sections, folders[0])
    write(made(lasting_folder, *lasting_files), folders[1])
    contents = [{path.name: path.read_bytes() for path in sorted(out.rglob("*.*"))} for out in folders]
    assert contents[0] == contents[1]
    assert {"report.md", "report.html", "confidence.quality.toy.default.svg", "learning.training.a.svg"} <= contents[0].keys()


def test_pictures_of_earlier_reports_are_removed(sections, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    (out / "plots").mkdir()
    (out / "plots" / "old.svg").write_text("<svg/>")
    write(sections, out)
    assert not (out / "plots" / "old.svg").exists()
    linked = set(re.findall(r"\(plots/([^)]+)\)", (out / "report.md").read_text(encoding="utf-8")))
    assert linked == {path.name for path in (out / "plots").iterdir()}


class Page(HTMLParser):
    """Notes tags that don't match, identifiers and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.ids, self.addresses, self.tags, self.text = [], [], [], [], Counter(), ""

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.ids += [value for name, value in attributes if name == "id"]
        self.addresses += [value for name, value in attributes if name in ("href", "src", "xlink:href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.faults.append((tag, self.getpos()))

    def handle_data(self, data):
        self.text += data


def test_the_html_page_stands_alone(sections):
    text = html(sections)
    page = Page()
    page.feed(text)
    assert not page.faults and not page.open
    assert [name for name, n in Counter(page.ids).items() if n > 1] == []
    assert set(page.addresses) <= {f"#{name}" for name in page.ids}
    assert not page.tags["script"] and not page.tags["link"] and not page.tags["img"]
    assert "@import" not in text and not re.findall(r"url\((?!#)", text)
    assert page.tags["svg"] == page.tags["figure"] == 4
    assert "<born> in" in page.text and "<born>" not in text


def test_each_figure_names_its_file(sections):
    captions = re.findall(r"<figcaption.*?</figcaption>", html(sections), re.DOTALL)
    assert len(captions) == 4 and all(".json</code>" in caption for caption in captions)


def test_marked_tables_are_filled_and_nothing_else(folder):
    results = load_results(folder)
    text = "a\n<!-- quality -->\nold\n<!-- /quality -->\nb\n<!-- training -->\n<!-- /training -->\nc\n"
    assert render(text, results) == (
        f"a\n<!-- quality -->\n{quality_table(results).markdown}\n<!-- /quality -->\nb\n"
        f"<!-- training -->\n{training_table(results).markdown}\n<!-- /training -->\nc\n"
    )
    assert quality_table(results).markdown.splitlines()[2:] == [
        "| toy test (7) | default.3 | 1 | 75.0 | 60.0 | 66.7 | 88.9 | 54.5 | 1 of 4 | `quality.toy.default.json` |",
        "| toy test (7) | base | 1 | 0.0 | 0.0 | 0.0 | – | – | – | `quality.toy.old.json` |",
    ]


def test_markup_in_a_cell_is_escaped():
    assert Cell("a|b *c* d_e _f_ <g>").markdown == r"a\|b \*c\* d_e \_f\_ \<g>"
    assert Cell("a_b|c", "code").markdown == r"`a_b\|c`"
    assert anchor("CoNLL04: protocol zero-shot, entities given") == "conll04-protocol-zero-shot-entities-given"


def test_the_committed_report_is_current():
    shipped = ROOT / "genre_x" / "default_model" / "calibration.json"
    sections = build(
        load_results(ROOT / "eval" / "results"),
        published=Published.load(ROOT / "eval" / "published.yaml"),
        targets=Targets.load(ROOT / "eval" / "targets.yaml").targets,
        calibration=load_result(shipped, shipped.relative_to(ROOT).as_posix()) if shipped.is_file() else None,
    )
    text = (ROOT / "eval" / "results" / "report.md").read_text(encoding="utf-8")
    assert markdown(sections) == text, "eval/results/report.md is not current: run `python -m eval.report`."
