"""What a training run is told: one YAML file, read into these models."""

from pathlib import Path
from typing import Annotated, Literal, Self

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from genre_x.errors import SchemaError
from genre_x.formats import DEFAULT_FORMAT
from genre_x.prompting import DEFAULT_TEMPLATE
from genre_x.yaml_text import load_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AugmentationConfig(_Strict):
    """Other texts with the same meaning; see `genre_x.training.augmentation`. Nothing is changed unless a rate is set.

    Attributes:
        entity_rate: Probability that a name in a document is swapped for another one of the same entity type, or, where there
            are no types, of the same place in the same relation. Mention replacement of Dai and Adel 2020
            (https://aclanthology.org/2020.coling-main.343/).
        synonym_rate: Probability that a word outside of all mentions is swapped for one of its synonyms. EDA, Wei and Zou 2019
            (https://arxiv.org/abs/1901.11196).
        synonyms: YAML file (`word: [word, …]`) or TSV file (word, tab, words with tabs between them), in the language of the
            documents; needed for `synonym_rate`. Words are matched as they are written, so names stay.
        back_translation_rate: Share of the documents that are read in a back-translation, chosen once per run. Sennrich et
            al. 2016 (https://aclanthology.org/P16-1009/), with protected mentions as in Yaseen and Langer 2021
            (https://arxiv.org/abs/2108.11703).
        back_translation: `module:function` with a function from a list of texts to the list of their back-translations;
            needed for `back_translation_rate`.
        mark_rate: Probability that the prompt shows a document's mentions in brackets; see `genre_x.prompting.marked`. The
            model learns where mentions begin and end, and to use given ones (`Extractor.mark_mentions`).
    """

    entity_rate: float = Field(default=0.0, ge=0, le=1)
    synonym_rate: float = Field(default=0.0, ge=0, le=1)
    synonyms: Path | None = None
    back_translation_rate: float = Field(default=0.0, ge=0, le=1)
    back_translation: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    mark_rate: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for needed in ("synonyms", "back_translation"):
            rate = "synonym_rate" if needed == "synonyms" else "back_translation_rate"
            if getattr(self, rate) and getattr(self, needed) is None:
                raise ValueError(f"`{rate}` needs `{needed}`")
        return self


class SourceConfig(_Strict):
    """Where annotated documents come from: a data set in the common form, sentences written for a task, or any other format.

    Attributes:
        dataset: Folder in the common form; needs `split`.
        sentences: JSONL file of `{"text", "triples"}`; needs `task`.
        path: File or folder in any format that `genre_x.readers` knows.
        format: Of `path`: a name in `genre_x.readers.READERS`; None looks into the data.
        split: Of `dataset`, or of a folder at `path`.
        task: For `sentences`, the task they were written for; for the others, a task whose schema replaces their own.
        skip_bad: Leave bad records out, count them and log the count, instead of stopping.
        leave_out: Names or labels of relation types that must not be seen: documents that state one are left out, and no
            schema shows it.
        languages: Take only documents in these languages (ISO 639-1); empty means all.
        part: Take only the documents whose text hashes to a number from the first to below the second, of 0 to 1. So `[0, 0.9]`
            for training and `[0.9, 1]` for development divide one file, with equal texts on the same side.
        max_documents: Take at most so many, drawn by the seed.
        repeat: How often each document is used per epoch, when the mixture has no `tokens`.
        share: Weight of this source among the others, when the mixture has `tokens`.
        max_relation_types: Most relation types of a schema, instead of the general setting.
        augmentation: For this source, instead of the mixture's.
    """

    dataset: Path | None = None
    sentences: Path | None = None
    path: Path | None = None
    format: str | None = None
    split: str | None = None
    task: str | None = None
    skip_bad: bool = False
    leave_out: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    part: tuple[float, float] = (0.0, 1.0)
    max_documents: int | None = Field(default=None, gt=0)
    repeat: int = Field(default=1, gt=0)
    share: float = Field(default=1, gt=0)
    max_relation_types: int | None = Field(default=None, gt=0)
    augmentation: AugmentationConfig | None = None

    @property
    def place(self) -> Path:
        """The file or folder that is read."""
        return self.dataset or self.sentences or self.path or Path()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(place is not None for place in (self.dataset, self.sentences, self.path)) != 1:
            raise ValueError("name either `dataset` or `sentences`, or `path` with another format")
        if self.dataset is not None and self.split is None:
            raise ValueError("`dataset` needs a `split`")
        if self.sentences is not None and self.task is None:
            raise ValueError("`sentences` needs the `task` they were written for")
        if self.format is not None and self.path is None:
            raise ValueError("`format` belongs to `path`")
        if not 0 <= self.part[0] < self.part[1] <= 1:
            raise ValueError(f"`part` rises, within 0 and 1; found {list(self.part)}")
        return self


class Replay(_Strict):
    """Old training data in a run on new ones, so that the old is not forgotten.

    Rehearsal as in Scialom et al. 2022 (https://arxiv.org/abs/2205.12393), who replay 1 % of the old data when a language model
    learns new tasks.

    Attributes:
        mixture: The old data: a mixture, or a file with one, that replays nothing itself.
        share: Of the tokens of an epoch, how many are from old data.
    """

    mixture: "Mixture"
    share: float = Field(default=0.2, gt=0, lt=1)

    @field_validator("mixture", mode="before")
    @classmethod
    def _loaded(cls, value: object) -> object:
        loaded = load_mapping(value)
        if isinstance(loaded, dict) and loaded.get("replay") is not None:
            raise ValueError("a mixture that is replayed can't replay another one; name that one's sources here")
        return loaded


class Mixture(_Strict):
    """The sources of a run; a file of its own, or written into the training config.

    Attributes:
        tokens: Length of an epoch in tokens, shared out by the sources' `share`; a source is read again, with other schemas,
            until its share is full. None uses every document `repeat` times.
        leave_out: As of a source, for all of them, those of `replay` included.
        replay: Old data to mix in.
        augmentation: For all sources that have none of their own.
    """

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    tokens: int | None = Field(default=None, gt=0)
    leave_out: tuple[str, ...] = ()
    replay: Replay | None = None
    augmentation: AugmentationConfig = AugmentationConfig()


def load_mapping(value: object) -> object:
    """What a YAML file holds, for a path; anything else as it is, a list as the sources of a mixture."""
    if isinstance(value, str | Path):
        try:
            return load_yaml(Path(value).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"can't read the mixture: {error}") from error
    return {"sources": value} if isinstance(value, list | tuple) else value


class EpisodesConfig(_Strict):
    """How documents become training sequences.

    Attributes:
        max_tokens: Longest sequence; a longer single document is left out and counted.
        max_documents: Most documents after one schema. More pay the schema's tokens once, and teach to follow examples; 1 is
            the usual way, and what encoder-decoders always do.
        max_relation_types: Most relation types of a sampled schema; small ones are drawn more often than large ones.
        large_schema_rate: Share of the schemas whose size is drawn with equal chances up to `max_relation_types`, so that long
            ones are not rare.
        sample_schema: Draw a schema per sequence: some of the relation types, in random order. False shows the whole one.
        drop_rate: Probability that a relation type of the first document is left out, and its triples with it; one stays.
        hard_negative_rate: Share of the other relation types that are easily confused with those of the first document,
            because they share words or the types of head and tail; the rest is drawn at random.
        empty_rate: Share of documents without an answer: those without triples, and those whose relation types the drawn
            schema does not show. More are left out. Without `sample_schema` it is a goal that documents of both kinds are
            drawn for, and none is left out.
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
    large_schema_rate: float = Field(default=0.0, ge=0, le=1)
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
    """A LoRA adapter (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    Attributes:
        rank: Of the update of each matrix. 32 on all linear layers is what the first shipped adapter had.
        alpha: The update is scaled by alpha / rank; twice the rank, as Biderman et al. 2024 (https://arxiv.org/abs/2405.09673).
        dropout: Of the adapter's input. Dettmers et al. 2023 (https://arxiv.org/abs/2305.14314) take 0.1 or 0.05.
        target_modules: `all-linear`, or the last parts of the names of linear layers, such as `q_proj`.
        layers: Numbers of the layers that get an adapter, from 0; of encoder and decoder alike. None means all.
    """

    rank: int = Field(default=32, gt=0)
    alpha: int = Field(default=64, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None


class OptimizerConfig(_Strict):
    """AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) and its learning rate.

    Attributes:
        learning_rate: The highest of the schedule. 6e-4 is for an adapter; all weights take less (2e-4 in eval/configs).
        batch_size: Sequences of one process in one pass.
        gradient_accumulation_steps: Passes for one step of the optimizer.
        schedule: After the warm-up: `cosine` or `linear` down to zero, `constant`, or `warmup_stable_decay`: constant, then
            down to zero by one minus the square root (Hägele et al. 2024, https://arxiv.org/abs/2405.18392).
        warmup_ratio: Share of all steps in which the learning rate rises.
        decay_ratio: Share of all steps of the decay of `warmup_stable_decay`; 0.2 as in the same paper.
        weight_decay: 0.01 is AdamW's own default in torch.
        beta1: Kingma and Ba 2015 (https://arxiv.org/abs/1412.6980), as `beta2` and `epsilon`.
        max_grad_norm: Gradients are clipped to this norm; 1 is the default of transformers.
    """

    learning_rate: float = Field(default=6e-4, gt=0)
    epochs: float = Field(default=3, gt=0)
    batch_size: int = Field(default=4, gt=0)
    gradient_accumulation_steps: int = Field(default=1, gt=0)
    schedule: Literal["cosine", "linear", "constant", "warmup_stable_decay"] = "cosine"
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    decay_ratio: float = Field(default=0.2, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.schedule == "warmup_stable_decay" and self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError(
                f"warmup_ratio {self.warmup_ratio} and decay_ratio {self.decay_ratio} are more than all steps; "
                "together they may be 1 at most"
            )
        return self


class RegularizationConfig(_Strict):
    """What keeps a model from learning its data by heart; all of it is off unless asked for.

    Attributes:
        label_smoothing: Share of each target that is spread over all tokens (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567; 0.1 there). In training only, so development losses stay comparable.
        attention_dropout: Of attention weights; None leaves it as the model's config has it.
        hidden_dropout: Of hidden states, where the architecture has it (T5, BART, GPT-2; not Llama); None as above.
        neftune_alpha: Uniform noise on the token embeddings, scaled by alpha / sqrt(length * width) (Jain et al. 2023,
            https://arxiv.org/abs/2310.05914; 5, 10 or 15 there).
        fgm_epsilon: Adversarial training (Miyato et al. 2017, https://arxiv.org/abs/1605.07725): each pass is repeated with
            each sequence's embeddings moved by this length up the gradient, and both gradients count. Takes twice the time.
            The paper has 5, for whole documents and embeddings of variance 1; compare it with the norm of your embeddings.
    """

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    hidden_dropout: float | None = Field(default=None, ge=0, lt=1)
    neftune_alpha: float | None = Field(default=None, gt=0)
    fgm_epsilon: float | None = Field(default=None, gt=0)


class TrainingConfig(_Strict):
    """A training run.

    Attributes:
        model: `default`, `base`, a Hugging Face id, or a folder. With an adapter, and `adapter` given, that adapter is
            trained further.
        output_dir: Run folder: checkpoints, `model`, `training.json`, the config, a model card, curves.
        train: The training documents: a mixture, a file with one, or a list of sources.
        dev: The development documents, likewise: for early stopping, and for the scores before and after.
        old_dev: Development documents of what the model could do before, likewise: scored before and after as well, so that
            forgetting shows.
        adapter: None trains the weights themselves.
        frozen: Parts of the weights that stay as they are: `embeddings` (and the output projection tied to them), or
            `layers:N` for the lowest N layers, of encoder and decoder alike.
        precision: `bf16` computes in bfloat16 and keeps float32 weights: about twice as fast on CPUs with AMX, slower on those
            without. `auto` is replaced by what suits the machine at once, so that a run folder says what was used.
        compile_layers: Compile each layer with torch.compile: a minute at the start, faster steps after.
        select_by: Which checkpoint is best, and when to stop: `loss` on the development sequences, or strict `f1` on
            documents, by greedy generation under the grounded constraint.
        f1_documents: How many development documents are generated at each evaluation by `f1`; drawn by the seed.
        early_stopping_patience: Stop after so many evaluations that are not better than the best; None never stops.
        eval_steps: Optimizer steps between two evaluations.
        checkpoint_steps: Optimizer steps between two checkpoints; None means `eval_steps`. The best evaluation always has one.
        average_checkpoints: Average the weights of the last so many checkpoints (Vaswani et al. 2017,
            https://arxiv.org/abs/1706.03762, took 5 to 20). The average is the final model if its development F1 is higher.
        max_minutes: Stop, with a checkpoint to resume from, when this part of the run has taken so long.
        logging_steps: Optimizer steps between two lines of the log.
        tensorboard: Also log to `tensorboard` in the run folder.
        dev_documents: How many development documents are generated for the scores before and after; drawn likewise.
    """

    model: str = "default"
    output_dir: Path
    train: Mixture
    dev: Mixture
    old_dev: Mixture | None = None
    template: str = DEFAULT_TEMPLATE
    output_format: str = DEFAULT_FORMAT
    episodes: EpisodesConfig = EpisodesConfig()
    adapter: AdapterConfig | None = AdapterConfig()
    frozen: tuple[Annotated[str, Field(pattern=r"^(embeddings|layers:[0-9]+)$")], ...] = ()
    optimizer: OptimizerConfig = OptimizerConfig()
    regularization: RegularizationConfig = RegularizationConfig()
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", validate_default=True)
    compile_layers: bool = False
    select_by: Literal["loss", "f1"] = "f1"
    f1_documents: int = Field(default=60, gt=0)
    early_stopping_patience: int | None = Field(default=3, gt=0)
    eval_steps: int = Field(default=100, gt=0)
    checkpoint_steps: int | None = Field(default=None, gt=0)
    average_checkpoints: int | None = Field(default=None, ge=2)
    max_minutes: float | None = Field(default=None, gt=0)
    logging_steps: int = Field(default=10, gt=0)
    tensorboard: bool = False
    dev_documents: int = Field(default=200, gt=0)
    seed: int = 0

    @field_validator("precision")
    @classmethod
    def _suited(cls, value: str) -> str:
        if value != "auto":
            return value
        on_gpu = torch.cuda.is_available()
        return "bf16" if (torch.cuda.is_bf16_supported() if on_gpu else torch.cpu._is_amx_tile_supported()) else "fp32"

    @field_validator("train", "dev", "old_dev", mode="before")
    @classmethod
    def _mixture(cls, value: object) -> object:
        return load_mapping(value)

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = []
        if self.adapter is not None and self.frozen:
            faults.append("`frozen` is for training the weights themselves: set `adapter: null`, or see adapter.layers")
        if sum(part.startswith("layers:") for part in self.frozen) > 1:
            faults.append(f"`frozen` names layers more than once: {', '.join(self.frozen)}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @classmethod
    def load(cls, path: str | Path) -> "TrainingConfig":
        """Read a YAML file; relative paths in it are relative to the working directory.

        Raises:
            SchemaError: The file has faults; the error lists all of them.
        """
        try:
            return cls.model_validate(load_yaml(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise SchemaError(f"Can't read {str(path)!r}: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path} is not valid YAML: {error}") from error
        except ValidationError as error:
            faults = [
                f"  - {'.'.join(map(str, detail['loc']))}: {detail['msg']}; found {detail['input']!r:.80}"
                for detail in error.errors(include_url=False)
            ]
            raise SchemaError("\n".join([f"{path}: {len(faults)} faults", *faults])) from error
