"""Published systems, as eval/published.yaml has them: every score with the place where it was read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval.report.results import describe
from genre_x import yaml_text
from genre_x.errors import DataError

NOT_STATED = "not stated"
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A model for files that people write."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSet(Strict):
    """A data set that there are results for, or may be.

    Attributes:
        language: ISO 639-1; empty for data in several languages, whose result files say which.
        note: What a comparison on these data must say.
    """

    title: str
    language: str = Field(default="", pattern="^([a-z]{2})?$")
    note: str = ""


class System(Strict):
    """One published score.

    Attributes:
        dataset: A key of `datasets`.
        metric: `strict`: spans, types and relation; `boundaries`: without types; `triplets`: as the source defines its triples.
        score: F1 in percent.
        protocol: What the system had seen of the data.
        m: Zero-shot: number of unseen relations; None if the source does not state it.
        trained_on: `train` (which may mean that the source says nothing else), `train+dev`, or another set.
        entities: Whether heads and tails are chosen among gold mentions.
        source: Repository and file, or page.
        note: What else keeps it from being compared.
    """

    system: str
    parameters: str
    dataset: str
    split: str = NOT_STATED
    metric: Literal["strict", "boundaries", "triplets"]
    score: float = Field(ge=0, le=100)
    protocol: Literal["supervised", "zero-shot"]
    m: int | None = None
    trained_on: str = "train"
    entities: Literal["given", "generated"]
    source: str = Field(min_length=1)
    note: str = ""

    def differences(self, *, protocols: set[str], splits: set[str], entities: set[str]) -> list[str]:
        """Why it is not comparable with results of these protocols, splits and kinds of entities; empty if nothing is known."""
        found = []
        if self.protocol not in protocols:
            found.append(f"protocol {self.protocol}, ours {_joined(protocols)}")
        if self.split not in splits:
            found.append(f"split {self.split}, ours {_joined(splits)}")
        if self.entities not in entities:
            found.append(f"entities {self.entities}, ours {_joined(entities)}")
        if self.trained_on != "train" and self.protocol == "supervised":
            found.append(f"trained on {self.trained_on}")
        if self.metric == "triplets":
            found.append("triples compared as the source does")
        if self.note:
            found.append(self.note)
        return found


class Published(Strict):
    """The file."""

    datasets: Mapping[str, DataSet]
    systems: tuple[System, ...]

    @classmethod
    def load(cls, path: Path) -> "Published":
        """Read the YAML file.

        Raises:
            DataError: It has faults; all of them are named.
        """
        published = load_yaml(path, cls)
        unknown = [
            f"systems.{index}.dataset: {one.dataset!r} is not among the data sets: {', '.join(sorted(published.datasets))}"
            for index, one in enumerate(published.systems)
            if one.dataset not in published.datasets
        ]
        if unknown:
            raise _faults(path, unknown)
        return published

    def of(self, dataset: str) -> list[System]:
        """The systems on a data set, best first within each metric."""
        return sorted(
            (one for one in self.systems if one.dataset == dataset),
            key=lambda one: (one.protocol, one.metric != "strict", one.metric, -one.score, one.system),
        )


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Read a YAML file into a model.

    Raises:
        DataError: It has faults; all of them are named.
    """
    try:
        return model.model_validate(yaml_text.load_yaml(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"Can't read {path.name}: {error}") from error
    except ValidationError as error:
        raise _faults(path, describe(error)) from error


def _faults(path: Path, faults: list[str]) -> DataError:
    return DataError("\n".join([f"{path.name} has faults:", *(f"  - {fault}" for fault in faults)]), faults=faults)


def _joined(names: set[str]) -> str:
    return " and ".join(sorted(names))
