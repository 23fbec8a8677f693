"""The pipeline component: `nlp.add_pipe("llm_relations")`."""

import json
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import raise_error

from genre_x.backends import BACKENDS
from genre_x.calibration import MinScore
from genre_x.document import Document
from genre_x.errors import BackendError, UnknownNameError
from genre_x.extractor import Extractor
from genre_x.interfaces import GenerationConfig, Strength
from genre_x.task import Task, parse_task, task_text
from spacy_component.annotations import register_extension, set_extraction
from spacy_component.convert import EntitySource, keep_entities, to_document, write_entities
from spacy_component.scores import SCORE_WEIGHTS, score_relations
from spacy_component.settings import Settings
from spacy_component.streaming import outcomes

ErrorHandler = Callable[[str, "LLMRelations", list[Doc], Exception], None]

TASK_FILE, SETTINGS_FILE = "task.yaml", "settings.json"


@Language.factory(  # type: ignore[untyped-decorator]
    "llm_relations",
    # doc.ents is needed only with entities="doc.ents"; the component warns if it is missing then.
    assigns=["doc._.relations", "doc.spans"],
    default_config=Settings().model_dump(),
    default_score_weights=SCORE_WEIGHTS,
)
def make_llm_relations(
    nlp: Language,
    name: str,
    task: str,
    model: str,
    backend: Any,
    strength: Strength,
    n_answers: int,
    min_score: MinScore,
    batch_size: int,
    max_new_tokens: int,
    window_tokens: int,
    max_window_tokens: int,
    entities: EntitySource,
    mark_mentions: bool,
    spans_key: str,
    set_ents: bool,
    extension: str,
) -> "LLMRelations":
    """Make the component; `Settings` says what the arguments mean.

    Reads and checks the task file at once. The model is loaded when the first doc comes, or by `nlp.initialize`.

    Raises:
        TaskError: The task file has faults.
        UnknownNameError: There is no such task or backend. A missing task file is accepted for a pipeline that is being
            loaded from disk, since the saved pipeline holds its text.
    """
    settings = Settings(
        task=task,
        model=model,
        backend=backend,
        strength=strength,
        n_answers=n_answers,
        min_score=min_score,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        window_tokens=window_tokens,
        max_window_tokens=max_window_tokens,
        entities=entities,
        mark_mentions=mark_mentions,
        spans_key=spans_key,
        set_ents=set_ents,
        extension=extension,
    )
    # The meta data of a saved pipeline name its components before they are made; `nlp.meta` would overwrite them.
    is_being_loaded = name in nlp._meta.get("components", ())
    return LLMRelations(settings, name=name, task_may_come_later=is_being_loaded)


class LLMRelations:
    """Adds relations to docs: `doc._.relations`, with the data in `doc.spans["relations"]`.

    Attributes:
        name: In the pipeline.
        settings: From the pipeline's config.
    """

    def __init__(self, settings: Settings, *, name: str = "llm_relations", task_may_come_later: bool = False) -> None:
        """Check the settings and the task file.

        Args:
            settings: What to extract, and how.
            name: In the pipeline.
            task_may_come_later: `from_disk` or `from_bytes` will bring the task if its file is not there.
        """
        if isinstance(settings.backend, str) and settings.backend not in BACKENDS:
            raise UnknownNameError("backend", settings.backend, BACKENDS)
        self.name = name
        self.settings = settings
        self._error_handler: ErrorHandler = raise_error
        self._extractor: Extractor | None = None
        self._task_text: str | None = None
        self._task: Task | None = None
        self._has_warned = False
        try:
            self._set_task(task_text(settings.task))
        except UnknownNameError:
            if not task_may_come_later:
                raise
        register_extension(settings.extension, spans_key=settings.spans_key)

    @property
    def task(self) -> Task:
        """What is extracted.

        Raises:
            UnknownNameError: There is no such file.
        """
        if self._task is None:
            return self._set_task(task_text(self.settings.task))
        return self._task

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the relations and attributes."""
        return () if self._task is None else tuple(relation.name for relation in self._task.schema.relation_types)

    @property
    def extractor(self) -> Extractor:
        """The engine. Loads the model when it is first asked for."""
        settings = self.settings
        if isinstance(settings.backend, str):
            _prepare_worker(self.name)
        if self._extractor is None:
            self._extractor = Extractor.from_task(
                self.task,
                model=settings.model,
                backend=settings.backend,
                config=GenerationConfig(max_new_tokens=settings.max_new_tokens),
                strength=settings.strength,
                n_answers=settings.n_answers,
                min_score=settings.min_score,
                window_tokens=settings.window_tokens,
                max_window_tokens=settings.max_window_tokens,
                mark_mentions=settings.mark_mentions,
            )
        return self._extractor

    def initialize(self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None) -> None:
        """Load the model now."""
        _ = self.extractor

    def __call__(self, doc: Doc) -> Doc:
        """Add relations to one doc. Raises what goes wrong: `nlp(text)` gives it to the error handler."""
        return next(self._annotated([doc], self.settings.batch_size, raise_error))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Add relations to a stream of docs.

        Args:
            stream: Read lazily.
            batch_size: Never decode more windows side by side than this; see `Settings.batch_size`.

        Yields:
            The docs in order, without those that failed: each of them alone goes to the error handler.
        """
        yield from self._annotated(stream, min(batch_size, self.settings.batch_size), self._error_handler)

    def set_error_handler(self, error_handler: ErrorHandler) -> None:
        """Set what is called with the name, this component, a list with one doc, and the error."""
        self._error_handler = error_handler

    def get_error_handler(self) -> ErrorHandler:
        return self._error_handler

    def score(self, examples: Iterable[Example], **options: Any) -> dict[str, Any]:
        """The scores that `nlp.evaluate` merges into its own; see `score_relations`."""
        return score_relations(examples, schema=self.task.schema, spans_key=self.settings.spans_key)

    def _annotated(self, stream: Iterable[Doc], batch_size: int, error_handler: ErrorHandler) -> Iterator[Doc]:
        extractor = self.extractor  # a model that can't be loaded is no fault of a doc
        for doc, outcome in outcomes(stream, self._to_document, extractor, batch_size=batch_size):
            error = outcome if isinstance(outcome, Exception) else None
            if not isinstance(outcome, Exception):
                try:
                    if self.settings.entities == "both":
                        outcome = keep_entities(outcome, doc, self.task.schema)
                    set_extraction(doc, outcome, spans_key=self.settings.spans_key)
                    if self.settings.set_ents:
                        write_entities(doc, outcome.mentions)
                except Exception as raised:  # spaCy's protocol: the handler decides
                    error = raised
            if error is None:
                yield doc
            else:
                error_handler(self.name, self, [doc], error)

    def _to_document(self, doc: Doc) -> Document:
        doc.spans.pop(self.settings.spans_key, None)  # should this fail, no older result must look like ours
        if self.settings.entities == "doc.ents" and not self._has_warned and not doc.has_annotation("ENT_IOB"):
            self._has_warned = True
            warnings.warn(
                f"{self.name!r} chooses heads and tails among doc.ents, but a doc has no entity annotation, so no relation "
                "will be found. Add a named entity recogniser before it, or set entities='generated'.",
                stacklevel=2,
            )
        return to_document(doc, self.task.schema, self.settings.entities)

    def _set_task(self, text: str) -> Task:
        task = parse_task(text, source=self.settings.task)
        self._task, self._task_text, self._extractor = task, text, None
        return task

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """The settings and the text of the task file; weights are named, not contained."""
        return json.dumps(self._saved(exclude), ensure_ascii=False).encode()

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Restore what `to_bytes` wrote; see `from_disk`."""
        return self._restore(json.loads(data), exclude)

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the settings and the text of the task file to a folder; weights are named, not contained."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self._saved(exclude).items():
            (folder / name).write_text(text, encoding="utf-8")

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Self:
        """Restore the task as it was when it was saved, even if its file is gone or has changed.

        The settings are those of the pipeline's config, which spaCy saves itself and lets users override when they load:
        they are not touched. In particular, a config that names another task than the saved one wins.
        """
        folder = Path(path)
        names = [name for name in (TASK_FILE, SETTINGS_FILE) if (folder / name).is_file()]
        return self._restore({name: (folder / name).read_text(encoding="utf-8") for name in names}, exclude)

    def _saved(self, exclude: Iterable[str]) -> dict[str, str]:
        _ = self.task  # read now if it was to come later
        settings = self.settings.model_dump(exclude=None if isinstance(self.settings.backend, str) else {"backend"})
        files = {TASK_FILE: self._task_text or "", SETTINGS_FILE: json.dumps(settings, ensure_ascii=False, indent=1)}
        return {name: text for name, text in files.items() if name not in set(exclude)}

    def _restore(self, files: Mapping[str, str], exclude: Iterable[str]) -> Self:
        if TASK_FILE in files and SETTINGS_FILE in files and TASK_FILE not in set(exclude):
            saved = json.loads(files[SETTINGS_FILE])
            if saved["task"] == self.settings.task:
                self._set_task(files[TASK_FILE])
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without the loaded model: a copy of the component loads its own."""
        return {**self.__dict__, "_extractor": None}


def _prepare_worker(name: str) -> None:
    """Make it safe to run a model in a worker process of `nlp.pipe(n_process=…)`.

    Raises:
        BackendError: The machine has a GPU, which forked processes can't share.
    """
    torch = sys.modules.get("torch")
    if multiprocessing.parent_process() is None or torch is None:
        return
    if torch.cuda.device_count():
        raise BackendError(
            f"{name!r} can't use the GPU in worker processes. Use nlp.pipe(n_process=1): the model reads "
            "many texts side by side in one process."
        )
    torch.set_num_threads(1)  # threads that the parent started are not there after a fork, and waiting for them hangs
