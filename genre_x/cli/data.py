"""The commands for annotated data: `genre-x data check`, `convert`, `formats`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from genre_x.cli.terminal import errors, stderr, stdout
from genre_x.datasets import AnnotatedSet
from genre_x.readers import READERS, convert, read_annotated, relation_counts
from genre_x.records import N_SHOWN
from genre_x.task import load_task

data_app = typer.Typer(help="Check and convert annotated data.", no_args_is_help=True)

PathArgument = Annotated[Path, typer.Argument(metavar="PATH", help="File or folder.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format", "-f", help="Format of the data, see `genre-x data formats`. Without it, the data are looked into."
    ),
]
SplitOption = Annotated[str | None, typer.Option(help="Which split of a folder.")]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", help="Task whose schema replaces the data's own; needed for sentences."),
]


@data_app.command("check")
def check(
    context: typer.Context,
    path: PathArgument,
    data_format: FormatOption = None,
    split: SplitOption = None,
    task: TaskOption = None,
) -> None:
    """Count what is in annotated data, and report everything that is wrong in them."""
    with errors(debug=context.obj):
        sets = _read(path, data_format, split, task, skip_bad=True)
        for one in sets:
            _print_counts(one)
        faults = [fault for one in sets for fault in one.faults]
        if faults:
            n_bad = sum(one.n_bad for one in sets)
            stderr.print(f"[bold red]{n_bad} bad records, {len(faults)} faults:[/bold red]", highlight=False)
            for fault in faults[:N_SHOWN]:
                stderr.print(f"  - {escape(fault)}", highlight=False, soft_wrap=True)
            if len(faults) > N_SHOWN:
                stderr.print(f"  … and {len(faults) - N_SHOWN} more", highlight=False)
            raise typer.Exit(1)


@data_app.command("convert")
def convert_command(
    context: typer.Context,
    path: PathArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for schema.json and the split.")],
    data_format: FormatOption = None,
    split: SplitOption = None,
    task: TaskOption = None,
    out_split: Annotated[
        str | None, typer.Option("--as", help="Name of the split that is written; default: --split, or `train`.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad records out instead of stopping.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a split that is there.")] = False,
) -> None:
    """Write annotated data in the common form, which training and evaluation read."""
    with errors(debug=context.obj):
        sets = _read(path, data_format, split, task, skip_bad=skip_bad)
        written = convert(sets, out, split=out_split or split or "train", overwrite=overwrite)
        for file in written.files:
            typer.echo(file)
        n_bad = sum(one.n_bad for one in sets)
        note = f"; {n_bad} bad records left out" if n_bad else ""
        stderr.print(f"{written.n_documents} documents, {written.n_triples} triples{note}", highlight=False)


@data_app.command("formats")
def formats() -> None:
    """List the formats that can be read."""
    table = Table("format", "files", "what it is")
    for name, reader in READERS.items():
        table.add_row(name, " ".join(reader.suffixes) or "a folder", escape(reader.summary))
    stdout.print(table)


def _read(path: Path, data_format: str | None, split: str | None, task: str | None, *, skip_bad: bool) -> list[AnnotatedSet]:
    loaded = load_task(task) if task else None
    return read_annotated(path, format=data_format, split=split, task=loaded, skip_bad=skip_bad)


def _print_counts(one: AnnotatedSet) -> None:
    counts = relation_counts(one)
    table = Table("relation", "head types", "tail types", title=escape(one.name))
    for column in ("triples", "documents"):
        table.add_column(column, justify="right")
    for count in counts:
        types = (", ".join(names) or "any" for names in (count.head_types, count.tail_types))
        table.add_row(escape(count.relation), *map(escape, types), str(count.n_triples), str(count.n_documents))
    stdout.print(table)
    n_empty = sum(not document.triples for document in one.documents)
    n_triples = sum(count.n_triples for count in counts)
    typer.echo(
        f"{len(one.documents)} documents, {n_empty} of them without a triple; {n_triples} triples, "
        f"and {sum(one.unanchored.values())} more that no two spans of the text stand for"
    )
    if n_mismatched := sum(count.n_mismatched for count in counts):
        typer.echo(f"{n_mismatched} triples have a head or tail of a type that the schema does not allow")
    for what, number in one.left_out.items():
        typer.echo(f"left out: {number} {what}")
