"""What all commands share: their options, where they print, how they report errors and progress.

Results go to stdout and nothing else does. Errors are one line on stderr with exit code 1; `--debug` shows the traceback.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from genre_x.calibration import AUTO, MinScore
from genre_x.errors import GenreXError
from genre_x.interfaces import Strength

stdout = Console(soft_wrap=False)
stderr = Console(stderr=True)


class ConstraintStrength(StrEnum):
    """The values of `interfaces.Strength`, for the option parser."""

    GROUNDED = "grounded"
    SCHEMA = "schema"
    NONE = "none"

    @property
    def strength(self) -> Strength:
        strengths: dict[str, Strength] = {"grounded": "grounded", "schema": "schema", "none": "none"}
        return strengths[self.value]


ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="`default`, `base`, a folder with weights or an adapter, or a Hugging Face id."),
]
BackendOption = Annotated[str, typer.Option(help="`transformers` or `vllm`.")]
ConstraintOption = Annotated[ConstraintStrength, typer.Option("--constraint", help="How much the decoder is constrained.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Windows decoded side by side.")]
AnswersOption = Annotated[
    int,
    typer.Option("--answers", min=1, help="Draw so many answers for each window; a score is the share that has the triple."),
]
MinScoreOption = Annotated[
    str,
    typer.Option(
        "--min-score",
        help="Leave out triples with a lower score, in [0, 1]; `auto` takes the thresholds of the model's calibration.",
    ),
]


def min_score_of(text: str) -> MinScore:
    """The value of `--min-score`.

    Raises:
        BadParameter: Neither `auto` nor a number in [0, 1].
    """
    if text == AUTO:
        return AUTO
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"expected a number from 0 to 1, or {AUTO!r}; found {text!r}.", param_hint="--min-score")
    return value


def progress() -> Progress:
    """A bar on stderr that leaves no trace."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    )


def quiet() -> None:
    """Keep the libraries' own progress bars and advice off the terminal."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


@contextmanager
def errors(*, debug: bool) -> Iterator[None]:
    """Turn our errors into one clear message and exit code 1."""
    try:
        yield
    except GenreXError as error:
        if debug:
            raise
        stderr.print(f"[bold red]error:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
