"""The settings of the component, as they stand in a pipeline's config."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genre_x.extractor import MAX_WINDOW_TOKENS, WINDOW_TOKENS
from genre_x.interfaces import GenerationConfig, Strength
from genre_x.models import DEFAULT_MODEL
from genre_x.task import DEFAULT_TASK
from spacy_component.annotations import EXTENSION, SPANS_KEY
from spacy_component.convert import EntitySource


class Settings(BaseModel):
    """What `nlp.add_pipe("llm_relations", config={...})` takes.

    Attributes:
        task: Path of a task file, or the name of a shipped task such as `general`.
        model: `default`, `base`, a folder, or a Hugging Face id; for a backend that is given by name.
        backend: `transformers`, `vllm` or `fake`; or a block `{"@misc": "…"}` that makes a `genre_x` backend.
        strength: `grounded`: every head and tail is a span of the text; `schema`: valid output only; `none`.
        n_answers: How many answers are drawn for each window; with more than one, a score is the share that has the relation.
        min_score: Relations with a lower score are left out; `auto` takes the thresholds of the calibration that is stored
            beside the model.
        batch_size: How many windows are decoded side by side. The `batch_size` of `nlp.pipe`, 1000 by default, says how
            many docs spaCy buffers; the smaller of the two holds.
        max_new_tokens: Limit for the answer about one window.
        window_tokens: Docs are read in windows of whole sentences up to this length.
        max_window_tokens: A sentence that is longer than this is cut.
        entities: Where heads and tails come from.

            - `generated`: the model finds them.
            - `doc.ents`: they are chosen among the entities of the doc. A label is matched with the task's entity types by
              name or alias (`PERSON` → `person`); entities with another label are left out. Values of attributes, such as
              dates, are still found by the model.
            - `both`: the model finds them; those that overlap an entity of the doc get its boundaries, the others are
              kept as they are.
        mark_mentions: With `doc.ents`, the prompt shows the entities in brackets; for models trained with `mark_rate`.
        spans_key: `doc.spans[spans_key]` holds the data.
        set_ents: Also write heads and tails to `doc.ents`, where there is no entity yet.
        extension: `doc._.<extension>` is the list of relations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    task: str = DEFAULT_TASK
    model: str = DEFAULT_MODEL
    backend: Any = "transformers"
    strength: Strength = "grounded"
    n_answers: int = Field(default=1, ge=1)
    min_score: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 0.0
    batch_size: int = Field(default=32, ge=1)
    max_new_tokens: int = Field(default=GenerationConfig().max_new_tokens, ge=1)
    window_tokens: int = Field(default=WINDOW_TOKENS, ge=1)
    max_window_tokens: int = Field(default=MAX_WINDOW_TOKENS, ge=1)
    entities: EntitySource = "generated"
    mark_mentions: bool = False
    spans_key: str = Field(default=SPANS_KEY, min_length=1)
    set_ents: bool = True
    extension: str = Field(default=EXTENSION, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
