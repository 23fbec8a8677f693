"""The command line: `genre-x extract`, `task`, `train`; `measure` adds `eval`, `score` and `calibrate`.

Results go to stdout and nothing else does. Errors are one line on stderr with exit code 1; `--debug` shows the traceback.
Heavy packages are imported when a command needs them.
"""

import io
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from genre_x.cli import measure
from genre_x.cli.data import data_app
from genre_x.cli.terminal import (
    AnswersOption,
    BackendOption,
    BatchOption,
    ConstraintOption,
    ConstraintStrength,
    MinScoreOption,
    ModelOption,
    errors,
    min_score_of,
    progress,
    quiet,
    stderr,
    stdout,
)
from genre_x.document import Document, Extraction
from genre_x.errors import GenreXError
from genre_x.interfaces import GenerationConfig
from genre_x.records import decoded, to_json
from genre_x.task import DEFAULT_TASK, load_task

if TYPE_CHECKING:
    from genre_x.extractor import Extractor

app = typer.Typer(
    help="Relation extraction with small language models: grounded triples from text.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
task_app = typer.Typer(help="Check and show task files.", no_args_is_help=True)
app.add_typer(task_app, name="task")
app.add_typer(data_app, name="data")
measure.register(app)


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


TaskOption = Annotated[str, typer.Option("--task", "-t", help="Task file, or the name of a shipped task.")]
WindowOption = Annotated[int | None, typer.Option(min=1, help="Sentences are read together up to so many tokens.")]
MaxTokensOption = Annotated[int, typer.Option(min=1, help="Most tokens of one answer.")]


@app.callback()
def main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log messages.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is done and how long it takes.")] = False,
    show_version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    """Extract relations from text."""
    if show_version:
        typer.echo(version("genre-x"))
        raise typer.Exit
    context.obj = debug
    for stream in (sys.stdout, sys.stderr):  # whatever the locale; characters that no encoding has are shown as ?
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=stderr, show_path=debug)])
    logging.getLogger("genre_x").setLevel(level)


@app.command()
def extract(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="The text, or `-` for standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from a UTF-8 file.")] = None,
    per_line: Annotated[bool, typer.Option("--per-line", help="Every line is a document of its own.")] = False,
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = "default",
    backend: BackendOption = "transformers",
    output: Annotated[Format, typer.Option("--format", help="How to print the result.")] = Format.TABLE,
    constraint: ConstraintOption = ConstraintStrength.GROUNDED,
    answers: AnswersOption = 1,
    min_score: MinScoreOption = "0",
    batch_size: BatchOption = 32,
    window_tokens: WindowOption = None,
    max_new_tokens: MaxTokensOption = 512,
) -> None:
    """Extract triples from a text."""
    with errors(debug=context.obj):
        documents = _documents(text, file, per_line=per_line)
        extractor = _extractor(
            task=task,
            model=model,
            backend=backend,
            config=GenerationConfig(max_new_tokens=max_new_tokens),
            strength=constraint.strength,
            n_answers=answers,
            min_score=min_score_of(min_score),
            **({} if window_tokens is None else {"window_tokens": window_tokens}),
        )
        _print(_extract(extractor, documents, batch_size), output)


@task_app.command("check")
def check(context: typer.Context, file: Annotated[str, typer.Argument(help="Task file or name.")]) -> None:
    """Report everything that is wrong in a task file."""
    with errors(debug=context.obj):
        task = load_task(file)
        n_attributes = sum(relation.is_attribute for relation in task.schema.relation_types)
        typer.echo(
            f"{file}: no faults. {len(task.schema.entity_types)} entity types, "
            f"{len(task.schema.relation_types) - n_attributes} relation types, {n_attributes} attributes, "
            f"{len(task.examples)} examples."
        )


@task_app.command("show")
def show(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="Task file or name.")],
    text: Annotated[str, typer.Argument(help="A text to put into the prompt.")],
    constraint: ConstraintOption = ConstraintStrength.GROUNDED,
) -> None:
    """Print the prompt and the constraint for a text. No model is loaded."""
    with errors(debug=context.obj):
        from genre_x.backends.fake import FakeBackend
        from genre_x.extractor import Extractor

        extractor = Extractor.from_task(file, backend=FakeBackend())
        for message in extractor.prompt(text).messages:
            typer.secho(f"--- {message.role}", bold=True)
            typer.echo(message.content)
        made = extractor.output_format.constraint(extractor.task.schema, text, strength=constraint.strength)
        typer.secho(f"--- constraint: {made.kind if made else 'none'}", bold=True)
        if made is not None:
            typer.echo(made.definition)
        typer.secho(f"--- template: {extractor.template.id}", bold=True)


@app.command()
def train(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="YAML file; see eval/configs.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the training data and the time; train nothing.")] = False,
    episodes: Annotated[int, typer.Option(min=0, help="With --dry-run: how many episodes are printed.")] = 3,
) -> None:
    """Fine-tune a model, and score it before and after on the development set."""
    with errors(debug=context.obj):
        from genre_x.training.config import TrainingConfig

        loaded = TrainingConfig.load(config)
        if dry_run:
            quiet()
            from genre_x.training.preview import preview

            preview(loaded, stdout, n_episodes=episodes)
            return
        from genre_x.training.run import train as run

        logging.getLogger("genre_x").setLevel(logging.INFO)
        folder = run(loaded, resume=resume)
        typer.echo(folder)


@app.command()
def shrink(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="Folder with fine-tuned weights.")],
    out: Annotated[Path, typer.Argument(help="Folder for the delta; every --model option takes it.")],
    base: Annotated[str, typer.Option(help="The model it was fine-tuned from; needed again to use the delta.")] = "base",
    bits: Annotated[int, typer.Option(min=2, max=4, help="Bits for each weight's change.")] = 3,
) -> None:
    """Write fine-tuned weights as a small file: their change from the base, in a few bits a weight."""
    with errors(debug=context.obj):
        quiet()
        from genre_x.models import shrink_model

        size = shrink_model(str(model), out, base=base, bits=bits)
        typer.echo(
            f"{out}: {size.n_bytes / 1e6:.1f} MB for {size.n_weights:,} changed weights; "
            f"the stored change is off by {100 * size.relative_error:.1f} %."
        )


def _documents(text: str | None, file: Path | None, *, per_line: bool) -> Iterator[Document]:
    """The documents that the arguments name; checked at once, read lazily."""
    if (text is None) == (file is None):
        raise typer.BadParameter("give either a text, `-` for standard input, or --file.", param_hint="TEXT")
    if file is not None:
        content, name = _read(file), file.name
    elif text == "-":
        content, name = _read(None), "stdin"
    else:
        content, name = text or "", "text"
    if not per_line:
        return iter([Document(name, content)])
    lines = content.removesuffix("\n").split("\n")
    return (Document(f"{name}-{number}", line.removesuffix("\r")) for number, line in enumerate(lines, start=1))


def _read(file: Path | None) -> str:
    """UTF-8 text of a file, or of standard input for None; line ends stay as they are, since offsets count them."""
    try:
        content = sys.stdin.buffer.read() if file is None else file.read_bytes()
    except OSError as error:
        raise GenreXError(f"Can't read {str(file)!r}: {error.strerror}.") from error
    return decoded(content, "The standard input" if file is None else repr(str(file))).removeprefix("\ufeff")


def _extractor(**options: object) -> "Extractor":
    """Load everything, and say how long it took when asked to."""
    started = time.perf_counter()
    load_task(str(options["task"]))  # faults of the file show before seconds are spent on imports
    from genre_x.extractor import Extractor

    quiet()
    extractor = Extractor.from_task(**options)  # type: ignore[arg-type]
    logging.getLogger(__name__).info("Start-up: %.1f s for imports and the model.", time.perf_counter() - started)
    return extractor


def _extract(extractor: "Extractor", documents: Iterable[Document], batch_size: int) -> Iterator[Extraction]:
    started, n_documents, n_triples, n_rejections = time.perf_counter(), 0, 0, 0
    with progress() as bar:
        shown = bar.add_task("windows", total=None)

        def update(n_read: int, n_known: int) -> None:
            bar.update(shown, completed=n_read, total=n_known)

        for extraction in extractor.pipe(documents, batch_size=batch_size, on_window=update):
            n_documents += 1
            n_triples += len(extraction.triples)
            n_rejections += len(extraction.rejections)
            yield extraction
    logging.getLogger(__name__).info(
        "%d documents, %d triples, %d rejections in %.1f s.",
        n_documents,
        n_triples,
        n_rejections,
        time.perf_counter() - started,
    )


def _print(extractions: Iterable[Extraction], output: Format) -> None:
    if output is Format.JSONL:
        for extraction in extractions:
            typer.echo(to_json(extraction.to_dict()))
        return
    found = list(extractions)
    if output is Format.JSON:
        records = [extraction.to_dict() for extraction in found]
        typer.echo(to_json(records[0] if len(records) == 1 else records, indent=2))
        return
    table = Table("head", "relation", "tail", "score", "characters")
    if len(found) > 1:
        table.add_column("document")
    for extraction in found:
        for triple in extraction.triples:
            cells = [
                escape(triple.head.text) + (f"  [dim]{triple.head.type}[/dim]" if triple.head.type else ""),
                triple.relation,
                escape(triple.tail.text) + (f"  [dim]{triple.tail.type}[/dim]" if triple.tail.type else ""),
                "" if triple.score is None else f"{triple.score:.2f}",
                f"{triple.head.start_char}-{triple.head.end_char}, {triple.tail.start_char}-{triple.tail.end_char}",
            ]
            table.add_row(*cells, *([extraction.document.id] if len(found) > 1 else []))
    if table.row_count:
        stdout.print(table)
    else:
        typer.echo("No triples found.")
    n_rejections = sum(len(extraction.rejections) for extraction in found)
    if n_rejections:
        stderr.print(f"{n_rejections} pieces of output were rejected; see --format json.")
