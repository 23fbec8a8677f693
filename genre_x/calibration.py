"""Calibrated scores: what a model's score means in practice, learnt from scored predictions and stored beside the model.

A model's probability of a row is too high or too low as a share of right triples. A `Calibration` maps it to that share, and
holds the least scores that gave the best F1 on development data. `fitting` makes one; this module stores and applies it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from genre_x.document import Triple
from genre_x.errors import DataError, SchemaError

CALIBRATION_FILE = "calibration.json"
AUTO: Literal["auto"] = "auto"
MinScore = float | Literal["auto"]
"""The least score of a triple that is kept: a number, or the thresholds of the calibration."""
Method = Literal["isotonic", "temperature"]
Entities = Literal["given", "marked", "generated"]
"""Where heads and tails come from. `given`: they are chosen among the gold mentions; `marked`: these also stand in brackets in
the prompt; `generated`: the model finds them."""
MISMATCH = "Scores may be off: the calibration was fitted in another setting: %s."
"""For the log; takes the phrases of `Calibration.mismatches`."""
_NO_CALIBRATION = (
    "min_score 'auto' needs the thresholds of a calibration, but {model} has none stored. Fit one with `genre-x calibrate`, "
    "or give a number."
)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FittedOn(_Strict):
    """One run whose predictions a calibration was fitted on.

    Attributes:
        sha256: Of the data file.
        n_documents: Documents of it that were read.
        n_triples: Scored triples that were predicted for them.
        n_examples: Few-shot examples in the prompt.
        n_answers: How many were drawn for each window.
        entities: Where heads and tails came from.
    """

    dataset: str
    split: str | None
    sha256: str | None
    n_documents: int
    n_triples: int
    model: str
    template: str
    output_format: str
    strength: str
    n_examples: int
    n_answers: int = 1
    entities: Entities


class Calibration(_Strict):
    """A map from raw scores to shares of right triples, and thresholds on its results.

    Attributes:
        method: `isotonic`: a rising line through `knots`; `temperature`: `score ** (1 / temperature)`.
        knots: Pairs of a raw score and a calibrated one, both not falling, for `isotonic`.
        temperature: For `temperature`; above 1 raises scores, below 1 lowers them.
        threshold: The calibrated score from which on keeping triples gave the best micro F1, over all relations.
        thresholds: The same for single relations, where there was enough data for one.
        fitted_on: The runs whose predictions were used.
        ece: Expected calibration errors when it was fitted: `raw`; `in_sample`, of calibrated scores on the data they were
            fitted on, which is too good; `cross_validated`, on parts of that data left out of the fit in turn.
    """

    method: Method
    knots: tuple[tuple[float, float], ...] = ()
    temperature: float | None = Field(default=None, gt=0)
    threshold: float = Field(ge=0, le=1)
    thresholds: Mapping[str, float] = Field(default_factory=dict)
    fitted_on: tuple[FittedOn, ...] = Field(min_length=1)
    ece: Mapping[str, float | None] = Field(default_factory=dict)
    versions: Mapping[str, str] = Field(default_factory=dict)
    git_commit: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.method == "temperature" and (self.temperature is None or self.knots):
            raise ValueError("the method 'temperature' needs a temperature and has no knots")
        if self.method == "isotonic":
            if self.temperature is not None or not self.knots:
                raise ValueError("the method 'isotonic' needs knots and has no temperature")
            for column in zip(*self.knots, strict=True):
                if not 0 <= column[0] <= column[-1] <= 1 or list(column) != sorted(column):
                    raise ValueError(f"knots rise from 0 to 1 in both columns, found {self.knots}")
        return self

    def apply(self, score: float) -> float:
        """The calibrated score of a raw one; both in [0, 1], and a higher raw score never gets a lower calibrated one."""
        if self.temperature is not None:
            return float(score ** (1 / self.temperature))
        raw, calibrated = zip(*self.knots, strict=True)
        return float(np.interp(score, raw, calibrated))

    def threshold_of(self, relation: str) -> float:
        """The least calibrated score that a triple of this relation should have."""
        return self.thresholds.get(relation, self.threshold)

    @property
    def has_votes(self) -> bool:
        """Whether the raw scores were shares of several answers."""
        return any(one.n_answers > 1 for one in self.fitted_on)

    def mismatches(
        self, *, model: str, template: str, output_format: str, strength: str, n_examples: int, n_answers: int = 1
    ) -> list[str]:
        """In what a run differs from every run that this was fitted on, one phrase a setting; empty if in nothing."""
        settings: list[tuple[str, object, set[object]]] = [
            (name, value, {getattr(one, name) for one in self.fitted_on})
            for name, value in (
                ("model", model),
                ("template", template),
                ("output_format", output_format),
                ("strength", strength),
            )
        ]
        settings.append(("few-shot examples", n_examples > 0, {one.n_examples > 0 for one in self.fitted_on}))
        settings.append(("several answers", n_answers > 1, {self.has_votes}))
        return [
            f"{name} {value!r} (fitted with {', '.join(sorted(map(repr, known)))})"
            for name, value, known in settings
            if value not in known
        ]

    def save(self, path: str | Path) -> None:
        """Write the JSON file."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: The file can't be read or is no calibration.
        """
        try:
            content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls.model_validate(content)
        except (OSError, json.JSONDecodeError, ValidationError) as error:
            raise DataError(f"{path} is no calibration file: {error}") from error


def select(triples: Iterable[Triple], *, calibration: Calibration | None, min_score: MinScore) -> tuple[Triple, ...]:
    """The triples whose score is high enough, with calibrated scores.

    Args:
        triples: With raw scores; those without a score are kept as they are.
        calibration: None leaves scores raw.
        min_score: Least calibrated score; `auto` takes the calibration's thresholds.
    """
    kept = []
    for triple in triples:
        if triple.score is None:
            kept.append(triple)
            continue
        score = triple.score if calibration is None else calibration.apply(triple.score)
        least = min_score
        if least == AUTO:
            if calibration is None:
                raise SchemaError(_NO_CALIBRATION.format(model="the model"))
            least = calibration.threshold_of(triple.relation)
        if score >= least:
            kept.append(replace(triple, score=score))
    return tuple(kept)


def check_min_score(min_score: MinScore, *, calibration: Calibration | None, model: str) -> None:
    """Refuse a least score that can't be applied.

    Raises:
        SchemaError: It lies outside of [0, 1], or is `auto` without a calibration.
    """
    if min_score == AUTO:
        if calibration is None:
            raise SchemaError(_NO_CALIBRATION.format(model=repr(model)))
    elif not 0 <= min_score <= 1:
        raise SchemaError(f"min_score lies in [0, 1], or is {AUTO!r}; found {min_score!r}.")
