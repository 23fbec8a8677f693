import logging

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_x.backends.fake import FakeBackend
from genre_x.calibration import Calibration, FittedOn, select
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError, SchemaError
from genre_x.evaluation.fitting import best_threshold, fit, fit_isotonic, fit_temperature
from genre_x.evaluation.predictions import Prediction, Run, SetInfo
from genre_x.evaluation.reliability import calibration_error, reliability_bins
from genre_x.extractor import Extractor
from genre_x.interfaces import Completion
from genre_x.models import find_calibration
from genre_x.schema import RelationType, Schema
from genre_x.task import Task

ADA, BOB = Mention(0, 3, "Ada"), Mention(8, 11, "Bob")
TEXT = "Ada met Bob."
ORIGIN = FittedOn(
    dataset="dev",
    split="dev",
    sha256="aa",
    n_documents=1,
    n_triples=2,
    model="fake",
    template="re.v1@0",
    output_format="rows",
    strength="grounded",
    n_examples=0,
    entities="generated",
)
ISOTONIC = Calibration(
    method="isotonic",
    knots=((0.2, 0.1), (0.6, 0.5), (0.8, 0.5)),
    threshold=0.3,
    thresholds={"met": 0.45},
    fitted_on=(ORIGIN,),
)
TEMPERATURE = Calibration(method="temperature", temperature=2.0, threshold=0.3, fitted_on=(ORIGIN,))


def predictions(cases, *, model="fake", sha256="aa"):
    """One document for each pair of a score and whether its triple is gold; relations in turn."""
    info = SetInfo(
        name="dev",
        dataset="dev",
        split="dev",
        sha256=sha256,
        relations=("met", "saw"),
        prompt_sha256="0",
        n_documents=len(cases),
    )
    run = Run(
        sets=(info,),
        relations=("met", "saw"),
        model=model,
        template="re.v1@0",
        output_format="rows",
        strength="grounded",
        generation={},
        batch_size=1,
        window_tokens=1,
        versions={},
    )
    found = []
    for number, (score, right, *relation) in enumerate(cases):
        triple = Triple(ADA, relation[0] if relation else "met", BOB, score)
        document = Document(str(number), TEXT, triples=(triple,) if right else ())
        found.append(Prediction(0, document, (triple,)))
    return run, found


def test_a_rising_line_between_knots():
    # half way between 0.2 and 0.6 is half way between 0.1 and 0.5; outside of the knots the line is flat
    scores = [0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 1.0]
    assert [ISOTONIC.apply(score) for score in scores] == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5, 0.5, 0.5])


def test_a_temperature_is_a_root():
    # 0.25 ** (1 / 2)
    assert TEMPERATURE.apply(0.25) == pytest.approx(0.5)
    assert (TEMPERATURE.apply(0.0), TEMPERATURE.apply(1.0)) == (0.0, 1.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_calibrated_scores_keep_their_order_and_stay_in_range(one, other):
    low, high = sorted((one, other))
    for calibration in (ISOTONIC, TEMPERATURE):
        assert 0 <= calibration.apply(low) <= calibration.apply(high) <= 1


def test_selection_by_number_and_by_stored_thresholds():
    triples = [Triple(ADA, "met", BOB, 0.4), Triple(ADA, "saw", BOB, 0.4), Triple(ADA, "knew", BOB)]

    def kept(**options):
        return [(triple.relation, triple.score) for triple in select(triples, **options)]

    assert kept(calibration=None, min_score=0.0) == [("met", 0.4), ("saw", 0.4), ("knew", None)]
    assert kept(calibration=None, min_score=0.5) == [("knew", None)]
    assert kept(calibration=ISOTONIC, min_score=0.0) == [
        ("met", pytest.approx(0.3)),
        ("saw", pytest.approx(0.3)),
        ("knew", None),
    ]
    assert kept(calibration=ISOTONIC, min_score=0.35) == [("knew", None)]
    # 0.3 is below the threshold of `met`, 0.45, and reaches that of all others, 0.3
    lower = ISOTONIC.model_copy(update={"threshold": 0.29})
    assert [relation for relation, _ in kept(calibration=lower, min_score="auto")] == ["saw", "knew"]
    with pytest.raises(SchemaError, match="genre-x calibrate"):
        kept(calibration=None, min_score="auto")


def test_a_file_gives_back_what_was_saved(tmp_path):
    for calibration in (ISOTONIC, TEMPERATURE):
        calibration.save(tmp_path / "folder" / "calibration.json")
        assert Calibration.load(tmp_path / "folder" / "calibration.json") == calibration


@pytest.mark.parametrize("text", ["", "[]", '{"method": "isotonic"}', '{"method": "platt", "threshold": 0.5}'])
def test_another_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="calibration.json is no calibration file"):
        Calibration.load(path)
    with pytest.raises(DataError, match="missing.json"):
        Calibration.load(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "change",
    [
        {"knots": ()},
        {"knots": ((0.2, 0.5), (0.4, 0.1))},
        {"knots": ((0.4, 0.1), (0.2, 0.5))},
        {"knots": ((0.2, 0.5), (0.4, 1.5))},
        {"temperature": 1.0},
        {"method": "temperature"},
        {"threshold": 1.5},
        {"fitted_on": ()},
        {"colour": "red"},
    ],
)
def test_what_makes_no_sense_is_refused(change):
    with pytest.raises(pydantic.ValidationError):
        Calibration.model_validate({**ISOTONIC.model_dump(), **change})


def test_isotonic_by_hand():
    # 0.2: 1 of 4 right; 0.6: 3 of 4 right; 0.8: 1 of 4, which is less, so it is pooled with 0.6: 4 of 8
    scores = np.repeat([0.2, 0.6, 0.8], 4000)
    right = np.concatenate([np.tile(four, 1000) for four in ([1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0])]).astype(float)
    knots = {round(raw, 3): calibrated for raw, calibrated in fit_isotonic(scores, right)}
    assert [knots[score] for score in (0.2, 0.6, 0.8)] == pytest.approx([0.25, 0.5, 0.5], abs=0.02)


def test_a_small_change_of_a_score_is_a_small_change_of_its_calibration():
    # a third is right up to 0.55, two thirds from 0.56 on: a single staircase goes up between the two
    scores = np.linspace(0.1, 1.0, 91)
    right = np.where(np.arange(91) % 3 == 0, scores < 0.555, scores > 0.555).astype(float)
    calibration = ISOTONIC.model_copy(update={"knots": fit_isotonic(scores, right)})
    assert calibration.apply(0.1) < 0.35
    assert calibration.apply(1.0) > 0.65
    assert 0 < calibration.apply(0.56) - calibration.apply(0.55) < 0.12


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_data_is_found(temperature):
    rng = np.random.default_rng(1)
    scores = rng.uniform(0, 1, 40_000)
    right = (rng.uniform(0, 1, 40_000) < scores ** (1 / temperature)).astype(float)
    assert fit_temperature(scores, right) == pytest.approx(temperature, rel=0.05)


def test_a_temperature_takes_scores_of_0_and_1():
    scores, right = np.array([0.0, 1.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.0, 1.0])
    assert 0.01 < fit_temperature(scores, right) < 100


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_a_fit_lowers_the_error_on_other_data(method):
    rng = np.random.default_rng(2)

    def draw(n):
        scores = rng.uniform(0, 1, n)
        return scores, (rng.uniform(0, 1, n) < scores**0.5).astype(float)  # scores are too low throughout

    scores, right = draw(2000)
    fitted = fit([predictions(list(zip(scores.tolist(), right.tolist(), strict=True)))], method=method)
    scores, right = draw(2000)
    before = calibration_error(reliability_bins(scores, right))
    after = calibration_error(reliability_bins(np.array([fitted.apply(score) for score in scores]), right))
    # the gap sqrt(s) - s has the mean 2/3 - 1/2 = 1/6
    assert before == pytest.approx(1 / 6, abs=0.02)
    assert after < 0.04
    assert fitted.ece["raw"] == pytest.approx(1 / 6, abs=0.02)
    assert fitted.ece["cross_validated"] == pytest.approx(after, abs=0.03)


def test_the_error_on_the_data_of_the_fit_is_too_good_and_cross_validation_is_not():
    # scores say nothing about what is right, and every score is another one
    rng = np.random.default_rng(3)
    cases = [(float(score), bool(rng.integers(2))) for score in rng.uniform(0, 1, 60)]
    fitted = fit([predictions(cases)])
    assert fitted.ece["in_sample"] < fitted.ece["cross_validated"]
    assert fitted.ece["in_sample"] == pytest.approx(0, abs=0.05)


def test_the_best_threshold_by_hand():
    # two gold triples. From 0.9: 1 right of 1: F1 2/3; from 0.7: 2 of 2: 1; from 0.3: 2 of 3: 4/5
    scores, right = np.array([0.9, 0.7, 0.3]), np.array([1.0, 1.0, 0.0])
    assert best_threshold(scores, right, 2) == pytest.approx(0.5)  # half way from 0.7 to 0.3
    assert best_threshold(scores, np.array([1.0, 1.0, 1.0]), 3) == 0.0
    assert best_threshold(scores, np.zeros(3), 2) is None
    assert best_threshold(np.array([]), np.array([]), 2) is None


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=12), st.integers(0, 3)
)
def test_no_other_threshold_has_a_better_f1(pairs, n_missed):
    scores, right = np.array([s for s, _ in pairs]), np.array([float(r) for _, r in pairs])
    n_gold = int(right.sum()) + n_missed

    def f1(threshold):
        kept = scores >= threshold
        return 2 * right[kept].sum() / max(1, kept.sum() + n_gold)

    best = best_threshold(scores, right, n_gold)
    if best is None:
        assert not right.any()
    else:
        assert f1(best) == pytest.approx(max(f1(threshold) for threshold in np.arange(0, 1.01, 0.05)))


def test_a_relation_needs_support_for_a_threshold_of_its_own():
    # `met` is right from 0.5 on, `saw` always; `saw` has 3 gold triples, fewer than 5
    cases = [(0.9, True, "met"), (0.8, True, "met"), (0.7, True, "met"), (0.6, True, "met"), (0.55, True, "met")]
    cases += [(0.3, False, "met")] * 5 + [(0.2, True, "saw")] * 3
    fitted = fit([predictions(cases)], method="temperature", min_support=5)
    assert set(fitted.thresholds) == {"met"}
    assert fitted.apply(0.3) < fitted.threshold_of("met") < fitted.apply(0.55)
    assert fitted.threshold_of("saw") == fitted.threshold_of("never seen") == fitted.threshold


def test_a_calibration_says_what_it_was_fitted_on():
    cases = [(0.9, True), (0.4, False), (0.6, True)]
    fitted = fit([predictions(cases), predictions(cases[:2], sha256="bb")], versions={"genre-x": "0"}, git_commit="abc")
    assert [(one.sha256, one.n_documents, one.n_triples) for one in fitted.fitted_on] == [("aa", 3, 3), ("bb", 2, 2)]
    assert (fitted.fitted_on[0].dataset, fitted.fitted_on[0].split, fitted.fitted_on[0].model) == ("dev", "dev", "fake")
    assert fitted.git_commit == "abc"


def test_there_must_be_right_and_wrong_triples_of_one_model():
    with pytest.raises(DataError, match="2 of 2 scored triples are right"):
        fit([predictions([(0.9, True), (0.4, True)])])
    with pytest.raises(DataError, match="None of the 1 predicted triples has a score"):
        fit([predictions([(None, True)])])
    with pytest.raises(DataError, match="one model; these predictions are of 2: a, b"):
        fit([predictions([(0.9, True)], model="a"), predictions([(0.9, False)], model="b")])
    run, found = predictions([(0.9, True)])
    with pytest.raises(DataError, match="some several"):
        fit([(run, found), (run.model_copy(update={"n_answers": 10}), predictions([(0.4, False)])[1])])


class Sure(FakeBackend):
    """Every token has the same probability; a token is a character."""

    def generate(self, requests, *, config, batch_size=32):
        for done in super().generate(requests, config=config, batch_size=batch_size):
            n = len(done.text)
            yield Completion(done.text, done.finish_reason, tuple(range(1, n + 1)), (-0.02,) * n)


TASK = Task(schema=Schema(name="s", relation_types=(RelationType(name="met"), RelationType(name="saw"))), instruction="Find.")
ROW = '[["Ada","met","Bob"]]'


def extract(**options):
    return Extractor(task=TASK, backend=Sure([ROW]), **options).extract(TEXT).triples


def test_the_engine_calibrates_its_scores_and_the_raw_ones_stay_reachable():
    (raw,) = extract()
    (calibrated,) = extract(calibration=TEMPERATURE)
    assert calibrated.score == pytest.approx(raw.score**0.5)
    assert calibrated.score > raw.score
    assert calibrated.head == raw.head


def test_the_least_score_is_compared_with_the_calibrated_one():
    (raw,) = extract()
    between = (raw.score + raw.score**0.5) / 2
    assert extract(min_score=between) == ()
    assert len(extract(min_score=between, calibration=TEMPERATURE)) == 1


def test_auto_takes_the_thresholds():
    least = TEMPERATURE.model_copy(update={"thresholds": {"met": 1.0}})
    assert extract(calibration=least, min_score="auto") == ()
    assert len(extract(calibration=TEMPERATURE, min_score="auto")) == 1


def test_auto_without_a_calibration_is_refused_before_a_model_is_loaded():
    with pytest.raises(SchemaError, match="'fake' has none stored. Fit one with `genre-x calibrate`"):
        extract(min_score="auto")
    with pytest.raises(SchemaError, match="'some/model' has none stored"):
        Extractor.from_task(TASK, model="some/model", min_score="auto")


def test_another_setting_than_that_of_the_fit_is_said(caplog):
    template = Extractor(task=TASK, backend=FakeBackend()).template.id
    same = TEMPERATURE.model_copy(update={"fitted_on": (ORIGIN.model_copy(update={"template": template}),)})
    with caplog.at_level(logging.WARNING, logger="genre_x"):
        Extractor(task=TASK, backend=FakeBackend(), calibration=same)
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING, logger="genre_x"):
        Extractor(task=TASK, backend=FakeBackend(model="other"), calibration=same, strength="none")
    assert caplog.messages == [
        "Scores may be off: the calibration was fitted in another setting: model 'other' (fitted with 'fake'); "
        "strength 'none' (fitted with 'grounded')."
    ]


def test_few_shot_examples_are_another_setting_unless_it_was_fitted_with_both():
    same = {"model": "fake", "template": "re.v1@0", "output_format": "rows", "strength": "grounded"}
    assert ISOTONIC.mismatches(**same, n_examples=0) == []
    assert ISOTONIC.mismatches(**same, n_examples=3) == ["few-shot examples True (fitted with False)"]
    both = ISOTONIC.model_copy(update={"fitted_on": (ORIGIN, ORIGIN.model_copy(update={"n_examples": 5}))})
    assert both.mismatches(**same, n_examples=3) == []


def test_a_share_of_answers_is_another_score():
    same = {"model": "fake", "template": "re.v1@0", "output_format": "rows", "strength": "grounded", "n_examples": 0}
    assert ISOTONIC.mismatches(**same, n_answers=5) == ["several answers True (fitted with False)"]
    voted = ISOTONIC.model_copy(update={"fitted_on": (ORIGIN.model_copy(update={"n_answers": 8}),)})
    assert voted.mismatches(**same, n_answers=5) == []
    assert voted.mismatches(**same) == ["several answers False (fitted with True)"]


def test_a_calibration_beside_the_model_is_found_and_used(tiny_decoder, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tiny_decoder.iterdir():
        (folder / file.name).symlink_to(file)
    assert find_calibration(str(folder)) is None
    TEMPERATURE.save(folder / "calibration.json")
    assert find_calibration(str(folder)) == TEMPERATURE
    assert Extractor.from_task(TASK, model=str(folder), min_score="auto").calibration == TEMPERATURE
    assert Extractor.from_task(TASK, model=str(folder), calibration=None).calibration is None
    assert Extractor.from_task(TASK, model=str(folder), backend=FakeBackend()).calibration is None
    assert find_calibration(str(folder), n_answers=8) is None
    with pytest.raises(SchemaError, match="min_score 'auto' needs the thresholds"):
        Extractor.from_task(TASK, model=str(folder), min_score="auto", n_answers=8)
    assert find_calibration("base") is None
    assert find_calibration("some/hub-id") is None


def test_a_spacy_pipeline_takes_auto(tmp_path):
    import spacy

    ISOTONIC.save(tmp_path / "calibration.json")
    nlp = spacy.blank("en")
    config = {"min_score": "auto", "model": str(tmp_path), "backend": "fake"}
    component = nlp.add_pipe("llm_relations", config=config)
    assert nlp.config["components"]["llm_relations"]["min_score"] == "auto"
    assert (component.extractor.min_score, component.extractor.calibration) == ("auto", ISOTONIC)
    with pytest.raises(ValueError, match="min_score"):
        spacy.blank("en").add_pipe("llm_relations", config={"min_score": "often"})
