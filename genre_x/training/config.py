"""What a training run is told: one YAML file, read into these models."""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from genre_x.errors import SchemaError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceConfig(_Strict):
    """Where annotated documents come from: a data set folder and a split, or sentences written for a task.

    Attributes:
        dataset: Folder in the common form; needs `split`.
        sentences: JSONL file of `{"text", "triples"}`; needs `task`.
        task: For `sentences`, the task they were written for; for `dataset`, a task whose schema replaces its own.
        leave_out: Names or labels of relation types that must not be seen: documents that state one are left out, and no
            schema shows it.
        languages: Take only documents in these languages (ISO 639-1); empty means all.
        max_documents: Take at most so many, drawn by the seed.
        repeat: How often each document is used per epoch, when the mixture has no `tokens`.
        share: Weight of this source among the others, when the mixture has `tokens`.
        max_relation_types: Most relation types of a schema, instead of the general setting.
    """

    dataset: Path | None = None
    split: str | None = None
    sentences: Path | None = None
    task: str | None = None
    leave_out: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_documents: int | None = Field(default=None, gt=0)
    repeat: int = Field(default=1, gt=0)
    share: float = Field(default=1, gt=0)
    max_relation_types: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.dataset is None) == (self.sentences is None):
            raise ValueError("name either `dataset` or `sentences`")
        if self.dataset is not None and self.split is None:
            raise ValueError("`dataset` needs a `split`")
        if self.sentences is not None and self.task is None:
            raise ValueError("`sentences` needs the `task` they were written for")
        return self


class Mixture(_Strict):
    """The sources of a run; a file of its own, or written into the training config.

    Attributes:
        tokens: Length of an epoch in tokens, shared out by the sources' `share`; a source is read again, with other schemas,
            until its share is full. None uses every document `repeat` times.
        leave_out: As of a source, for all of them.
    """

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    tokens: int | None = Field(default=None, gt=0)
    leave_out: tuple[str, ...] = ()


class EpisodesConfig(_Strict):
    """How documents become training sequences.

    Attributes:
        max_tokens: Longest sequence; a longer single document is left out and counted.
        max_documents: Most documents after one schema. More pay the schema's tokens once, and teach to follow examples.
        max_relation_types: Most relation types of a sampled schema; small ones are drawn more often than large ones.
        sample_schema: Draw a schema per sequence: some of the relation types, in random order. False shows the whole one.
        drop_rate: Probability that a relation type of the first document is left out, and its triples with it.
        hard_negative_rate: Share of the other relation types that are easily confused with those of the first document,
            because they share words or the types of head and tail; the rest is drawn at random.
        empty_rate: Share of documents without an answer, as far as the source has both kinds; more are left out.
        description_rate: Probability that the schema has descriptions.
        type_rate: Probability that the schema has entity types.
        rename_rate: Probability that the names of a sequence's schema are written another way: paraphrases where there are
            some, else another spelling (`born_in`, `BORN IN`, `bornIn`), or the data set's own label.
        paraphrases: YAML file: for the name of a relation type or entity type, a list of other names.
        join_rate: Probability that a document is several documents of the source behind one another, as one text.
    """

    max_tokens: int = Field(default=640, ge=64)
    max_documents: int = Field(default=8, ge=1)
    max_relation_types: int = Field(default=16, ge=1)
    sample_schema: bool = True
    drop_rate: float = Field(default=0.15, ge=0, lt=1)
    hard_negative_rate: float = Field(default=0.5, ge=0, le=1)
    empty_rate: float = Field(default=0.2, ge=0, le=1)
    description_rate: float = Field(default=0.7, ge=0, le=1)
    type_rate: float = Field(default=0.7, ge=0, le=1)
    rename_rate: float = Field(default=0.0, ge=0, le=1)
    paraphrases: Path | None = None
    join_rate: float = Field(default=0.0, ge=0, lt=1)


class AdapterConfig(_Strict):
    """A LoRA adapter (Hu et al. 2021, https://arxiv.org/abs/2106.09685) on all linear layers.

    Attributes:
        rank: Of the update of each matrix.
        alpha: The update is scaled by alpha / rank.
    """

    rank: int = Field(default=32, gt=0)
    alpha: int = Field(default=64, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)


class OptimizerConfig(_Strict):
    """AdamW with a linear warm-up and a cosine decay to zero."""

    learning_rate: float = Field(default=6e-4, gt=0)
    epochs: float = Field(default=3, gt=0)
    batch_size: int = Field(default=4, gt=0)
    gradient_accumulation_steps: int = Field(default=1, gt=0)
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class TrainingConfig(_Strict):
    """A training run.

    Attributes:
        model: `default`, `base`, a Hugging Face id, or a folder. With an adapter, and `adapter` given, that adapter is
            trained further.
        output_dir: Run folder: checkpoints, the model, `result.json`.
        train: The training documents: a mixture, a file with one, or a list of sources.
        dev: The development documents, likewise: for early stopping, and for the scores before and after.
        adapter: None trains the weights themselves.
        frozen: Parts of the weights that stay as they are: `embeddings` (and the output projection tied to them), or
            `layers:N` for the lowest N layers.
        precision: `bf16` computes in bfloat16 and keeps float32 weights; several times faster on CPUs with AVX512-BF16.
        compile_layers: Compile each layer with torch.compile: a minute at the start, faster steps after.
        early_stopping_patience: Stop after so many evaluations without a lower development loss; None never stops.
        eval_steps: Optimizer steps between two evaluations, and between two checkpoints.
        dev_documents: How many development documents are generated for the scores before and after.
    """

    model: str = "default"
    output_dir: Path
    train: Mixture
    dev: Mixture
    template: str = "re.v1"
    output_format: str = "rows"
    episodes: EpisodesConfig = EpisodesConfig()
    adapter: AdapterConfig | None = AdapterConfig()
    frozen: tuple[Annotated[str, Field(pattern=r"^(embeddings|layers:[0-9]+)$")], ...] = ()
    optimizer: OptimizerConfig = OptimizerConfig()
    precision: Literal["fp32", "bf16"] = "fp32"
    compile_layers: bool = False
    early_stopping_patience: int | None = Field(default=3, gt=0)
    eval_steps: int = Field(default=100, gt=0)
    dev_documents: int = Field(default=200, gt=0)
    seed: int = 0

    @field_validator("train", "dev", mode="before")
    @classmethod
    def _mixture(cls, value: object) -> object:
        if isinstance(value, str | Path):
            return yaml.safe_load(Path(value).read_text(encoding="utf-8"))
        return {"sources": value} if isinstance(value, list | tuple) else value

    @classmethod
    def load(cls, path: str | Path) -> "TrainingConfig":
        """Read a YAML file; relative paths in it are relative to the working directory.

        Raises:
            SchemaError: The file has faults; the error lists all of them.
        """
        try:
            return cls.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise SchemaError(f"{path}: there is no file {error.filename!r}.") from error
        except yaml.YAMLError as error:
            raise SchemaError(f"{path} is not valid YAML: {error}") from error
        except ValidationError as error:
            faults = [
                f"  - {'.'.join(map(str, detail['loc']))}: {detail['msg']}; found {detail['input']!r:.80}"
                for detail in error.errors(include_url=False)
            ]
            raise SchemaError("\n".join([f"{path}: {len(faults)} faults", *faults])) from error
