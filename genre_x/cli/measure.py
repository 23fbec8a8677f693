"""The commands that measure: `genre-x eval`, `score`, `calibrate`."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genre_x.calibration import Calibration, Entities, MinScore, check_min_score
from genre_x.cli.result_table import calibration_table, result_tables
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
    stdout,
)
from genre_x.datasets import AnnotatedSet
from genre_x.document import Document
from genre_x.errors import DataError
from genre_x.evaluation.predictions import Prediction, ProtocolName, ShotsInfo, finished, read_predictions, writer
from genre_x.evaluation.protocols import draw_for_each, in_languages, load_relation_names, restrict, sample, unseen_relations
from genre_x.evaluation.sources import Source, load_sources
from genre_x.interfaces import GenerationConfig
from genre_x.task import load_task

if TYPE_CHECKING:
    from genre_x.evaluation import Evaluation

STORED, NO_CALIBRATION = "stored", "none"


class ProtocolOption(StrEnum):
    """The values of `predictions.ProtocolName`, for the option parser."""

    SUPERVISED = "supervised"
    TRANSFER = "transfer"
    ZERO_SHOT = "zero-shot"
    FEW_SHOT = "few-shot"
    CROSS_LINGUAL = "cross-lingual"

    @property
    def protocol(self) -> ProtocolName:
        names: dict[str, ProtocolName] = {
            "supervised": "supervised",
            "transfer": "transfer",
            "zero-shot": "zero-shot",
            "few-shot": "few-shot",
            "cross-lingual": "cross-lingual",
        }
        return names[self.value]


class MethodOption(StrEnum):
    """The values of `calibration.Method`, for the option parser."""

    ISOTONIC = "isotonic"
    TEMPERATURE = "temperature"


OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Write the result file here.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("eval")(evaluate)
    app.command("score")(score)
    app.command("calibrate")(calibrate)


def evaluate(
    context: typer.Context,
    datasets: Annotated[list[Path], typer.Argument(help="Folders and files of annotated data.")],
    data_format: Annotated[
        str | None, typer.Option("--format", "-f", help="Format of the data; without it, the data are looked into.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="Split of the data sets, `test` if they have it; repeatable.")] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", help="Task whose schema replaces the data set's own; needed for sentences."),
    ] = None,
    model: ModelOption = "default",
    backend: BackendOption = "transformers",
    out: OutOption = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Write what is predicted to this JSONL file, as it comes.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on behind what is in --predictions already.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many documents.")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Only documents in this language, as the data name it (`de`, `pt-BR`); repeatable.")
    ] = None,
    sample_size: Annotated[int | None, typer.Option("--sample", min=1, help="So many documents of each set, drawn.")] = None,
    protocol: Annotated[
        ProtocolOption | None, typer.Option(help="What the model has seen of these data; stored with the result.")
    ] = None,
    unseen: Annotated[int | None, typer.Option(min=1, help="Zero-shot: draw so many relations, ask for these only.")] = None,
    relations_file: Annotated[
        Path | None, typer.Option("--relations-file", help="YAML list of the relations to ask for, or to draw --unseen from.")
    ] = None,
    shots: Annotated[int, typer.Option(min=0, help="Few-shot examples to draw from --shots-split.")] = 0,
    per_relation: Annotated[bool, typer.Option("--per-relation", help="So many --shots for each relation.")] = False,
    shots_split: Annotated[str, typer.Option("--shots-split", help="Split of the data sets to draw --shots from.")] = "train",
    shots_from: Annotated[
        Path | None, typer.Option("--shots-from", help="Draw --shots from this data set or file instead.")
    ] = None,
    few_shot: Annotated[bool, typer.Option("--few-shot", help="Show the examples of the task in the prompt.")] = False,
    given_entities: Annotated[bool, typer.Option("--given-entities", help="Choose among the gold mentions.")] = False,
    mark_mentions: Annotated[
        bool, typer.Option("--mark-mentions", help="Show these in brackets, for models that were trained so.")
    ] = False,
    constraint: ConstraintOption = ConstraintStrength.GROUNDED,
    output_format: Annotated[
        str | None, typer.Option("--output-format", help="Without it, what the model was trained to write, or `rows`.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Prompt template; without it, that of the model's training, which it needs, or `re.v1`.")
    ] = None,
    calibration: Annotated[
        str, typer.Option(help="`stored` (that of the model, if it has one), `none`, or a calibration file.")
    ] = STORED,
    answers: AnswersOption = 1,
    min_score: MinScoreOption = "0",
    batch_size: BatchOption = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of one answer.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="For drawing and resampling; stored with the result.")] = 0,
) -> None:
    """Score a model on data sets."""
    with errors(debug=context.obj):
        least = min_score_of(min_score)
        _check_options(predictions, out, resume=resume)
        entities = _entities(given=given_entities, marked=mark_mentions)
        _check_examples(
            shots, few_shot=few_shot, has_task=bool(task), details=per_relation or bool(shots_from), protocol=protocol
        )
        loaded_task = load_task(task) if task else None
        sets, sources = load_sources(datasets, split, format=data_format, task=loaded_task)
        if language:
            sets = in_languages(sets, language)
        if unseen is not None or relations_file is not None:
            sets = [_unseen(one, unseen, relations_file, seed) for one in sets]
        if sample_size is not None:
            sets = [sample(one, sample_size, seed=seed) for one in sets]
        examples: list[tuple[Document, ...]] = []
        info = None
        if few_shot and loaded_task:
            examples = [loaded_task.examples] * len(sets)
        elif shots:
            drawn_from = [shots_from] if shots_from else datasets
            pools, origins = load_sources(drawn_from, [shots_split], format=data_format, task=loaded_task)
            pools = in_languages(pools, language) if language else pools
            examples = draw_for_each(sets, pools, shots, per_relation=per_relation, seed=seed)
            info = _shots_info(origins, shots, per_relation=per_relation, examples=examples)
        fitted = _calibration(calibration, model, answers)
        check_min_score(least, calibration=fitted, model=model)
        quiet()
        from genre_x.backends import get_backend
        from genre_x.evaluation import Evaluation

        evaluation = Evaluation(
            sets=sets,
            backend=get_backend(backend, model=model),
            template=template,
            output_format=output_format,
            examples=examples,
            strength=constraint.strength,
            n_answers=answers,
            entities=entities,
            config=GenerationConfig(max_new_tokens=max_new_tokens, seed=seed),
            batch_size=batch_size,
            limit=limit,
            sample=sample_size,
            sources=sources,
            task=task,
            protocol=protocol.protocol if protocol else _implied_protocol(unseen, relations_file, examples),
            shots=info,
        )
        _report(evaluation, _predict(evaluation, predictions, resume=resume), fitted, least, out)


def score(
    context: typer.Context,
    predictions: Annotated[Path, typer.Argument(help="File that `genre-x eval --predictions` wrote.")],
    out: OutOption = None,
    calibration: Annotated[str, typer.Option(help="`none`, or a calibration file.")] = NO_CALIBRATION,
    min_score: MinScoreOption = "0",
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Folder for pictures of reliability and of precision and recall.")
    ] = None,
) -> None:
    """Compute a result again from predictions; no model is loaded."""
    with errors(debug=context.obj):
        from genre_x.evaluation.assessment import assess

        run, found = read_predictions(predictions)
        if len(found) < run.n_documents:
            raise DataError(
                f"{predictions} has {len(found)} of {run.n_documents} documents. Finish it with `genre-x eval --resume`."
            )
        fitted = None if calibration == NO_CALIBRATION else Calibration.load(calibration)
        result = assess(run, found, calibration=fitted, min_score=min_score_of(min_score))
        _show(result, out)
        if plots is not None:
            from genre_x.evaluation.plots import plot_result

            for file in plot_result(result, plots):
                typer.echo(file)


def calibrate(
    context: typer.Context,
    predictions: Annotated[list[Path], typer.Argument(help="Files that `genre-x eval --predictions` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="MODEL_FOLDER/calibration.json, where the model finds it.")],
    method: Annotated[MethodOption, typer.Option(help="How scores are mapped.")] = MethodOption.ISOTONIC,
    min_support: Annotated[
        int, typer.Option(min=1, help="Gold triples that a relation needs for a threshold of its own.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="For dealing documents into parts for the cross-validated error.")] = 0,
) -> None:
    """Fit a calibration and thresholds to predictions for development data."""
    with errors(debug=context.obj):
        from genre_x.evaluation import environment
        from genre_x.evaluation.fitting import fit

        fitted = fit(
            [read_predictions(path) for path in predictions],
            method="isotonic" if method is MethodOption.ISOTONIC else "temperature",
            min_support=min_support,
            seed=seed,
            **environment(),
        )
        fitted.save(out)
        stdout.print(calibration_table(fitted))


def _check_options(predictions: Path | None, out: Path | None, *, resume: bool) -> None:
    """Refuse what would lose predictions or the result, before anything is read."""
    for file in (predictions, out):
        if file is not None and file.is_dir():
            raise DataError(f"{file} is a folder. Name a file in it.")
    if resume and predictions is None:
        raise typer.BadParameter("needs --predictions: the file to go on with.", param_hint="--resume")
    if predictions is not None and predictions.exists() and not resume:
        raise DataError(f"{predictions} is there already. Add --resume to go on with it, or name another file.")


def _check_examples(shots: int, *, few_shot: bool, has_task: bool, details: bool, protocol: ProtocolOption | None) -> None:
    """Refuse options for examples that contradict each other."""
    if few_shot and not has_task:
        raise typer.BadParameter("needs --task: the task whose examples are shown.", param_hint="--few-shot")
    if shots and few_shot:
        raise typer.BadParameter("--shots and --few-shot both name the examples; give one of them.", param_hint="--shots")
    if details and not shots:
        raise typer.BadParameter("--per-relation and --shots-from need it.", param_hint="--shots")
    if (shots or few_shot) and protocol is ProtocolOption.ZERO_SHOT:
        raise typer.BadParameter("a prompt with examples is not zero-shot.", param_hint="--protocol")


def _entities(*, given: bool, marked: bool) -> Entities:
    if marked and not given:
        raise typer.BadParameter("needs --given-entities: the mentions to mark.", param_hint="--mark-mentions")
    return "marked" if marked else "given" if given else "generated"


def _unseen(one: AnnotatedSet, n_unseen: int | None, relations_file: Path | None, seed: int) -> AnnotatedSet:
    candidates = None if relations_file is None else load_relation_names(relations_file)
    return restrict(one, unseen_relations(one, n_unseen=n_unseen, candidates=candidates, seed=seed))


def _shots_info(origins: Sequence[Source], k: int, *, per_relation: bool, examples: Sequence[Sequence[Document]]) -> ShotsInfo:
    return ShotsInfo(
        dataset=", ".join(dict.fromkeys(one.dataset for one in origins)),
        split=", ".join(dict.fromkeys(one.split for one in origins if one.split)) or None,
        k=k,
        per_relation=per_relation,
        ids=tuple(tuple(document.id for document in drawn) for drawn in examples),
    )


def _implied_protocol(
    unseen: int | None, relations_file: Path | None, examples: Sequence[Sequence[Document]]
) -> ProtocolName | None:
    if any(examples):
        return "few-shot"
    return "zero-shot" if unseen is not None or relations_file is not None else None


def _calibration(option: str, model: str, n_answers: int) -> Calibration | None:
    if option == NO_CALIBRATION:
        return None
    if option != STORED:
        return Calibration.load(option)
    from genre_x.models import find_calibration

    return find_calibration(model, n_answers=n_answers)


def _predict(evaluation: "Evaluation", path: Path | None, *, resume: bool) -> list[Prediction]:
    """All predictions, those of an earlier run first; written as they come if there is a file for them."""
    with progress() as bar:

        def tracked(documents: Any, n: int) -> Any:
            return bar.track(documents, total=n, description="documents")

        if path is None:
            return list(evaluation.predict(progress=tracked))
        done = finished(path, evaluation.run, (document for _, document in evaluation.documents)) if resume else []
        found = list(done)
        with writer(path, evaluation.run, done) as write:
            for prediction in evaluation.predict(skip=len(done), progress=tracked):
                write(prediction)
                found.append(prediction)
        return found


def _report(
    evaluation: "Evaluation",
    predictions: Sequence[Prediction],
    calibration: Calibration | None,
    min_score: MinScore,
    out: Path | None,
) -> None:
    from genre_x.evaluation.assessment import assess

    _show(assess(evaluation.run, predictions, calibration=calibration, min_score=min_score), out)


def _show(result: dict[str, Any], out: Path | None) -> None:
    from genre_x.evaluation import write_result

    if out is not None:
        write_result(result, out)
    for part in result_tables(result):
        if isinstance(part, str):
            typer.echo(part)
        else:
            stdout.print(part)
