"""When a run writes a checkpoint and when it stops, and what is seen of it meanwhile."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from genre_x.training.config import TrainingConfig

logger = logging.getLogger(__name__)


class Stopping(TrainerCallback):  # type: ignore[misc]
    """Keeps the best evaluation's checkpoint, and stops a run that gets no better or takes too long.

    It has no state of its own: how long there was nothing better is read from the log, which checkpoints keep. So a resumed
    run decides as an uninterrupted one.

    Attributes:
        reason: Why the run stopped early; None if it did not.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.patience = config.early_stopping_patience
        self.max_seconds = None if config.max_minutes is None else 60 * config.max_minutes
        self.reason: str | None = None
        self._started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        if self.max_seconds is not None and state.global_step < state.max_steps and self._time_is_up(args):
            self.reason = "max_minutes"
            control.should_save = True
            control.should_training_stop = True
        elif self._is_overdue(args, state):  # it had stopped already when it was killed, and goes on from there
            control.should_training_stop = True
        return control

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        if self._n_since_best(args, state) == 0:
            control.should_save = True
        if self._is_overdue(args, state):
            control.should_save = True
            control.should_training_stop = True
        return control

    def _is_overdue(self, args: TrainingArguments, state: TrainerState) -> bool:
        """Whether patience has run out; if so, that is the reason for stopping."""
        if self.patience is None or self._n_since_best(args, state) < self.patience:
            return False
        self.reason = "early_stopping_patience"
        return True

    def _n_since_best(self, args: TrainingArguments, state: TrainerState) -> int:
        """How many evaluations there have been since the best one."""
        values = [entry[args.metric_for_best_model] for entry in state.log_history if args.metric_for_best_model in entry]
        best = (max if args.greater_is_better else min)(values, default=None)
        return 0 if best is None else len(values) - 1 - values.index(best)

    def _time_is_up(self, args: TrainingArguments) -> bool:
        """Decided by the first process for all, whose clocks differ."""
        is_up = time.monotonic() - self._started >= (self.max_seconds or 0)
        if args.world_size == 1:
            return is_up
        from accelerate.utils import broadcast_object_list

        return bool(broadcast_object_list([is_up])[0])


class ShownProgress(TrainerCallback):  # type: ignore[misc]
    """A bar on a terminal, and a line for each entry of the log."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._task = self._bar.add_task("training", total=state.max_steps, completed=state.global_step)
            self._bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        shown = {
            "loss": "loss {:.4f}",
            "eval_loss": "dev loss {:.4f}",
            "eval_f1": "dev F1 {:.3f}",
            "learning_rate": "learning rate {:.2g}",
            "tokens_per_s": "{:.0f} tokens/s",
            "minutes_left": "{:.0f} min left",
        }
        parts = [form.format(logs[name]) for name, form in shown.items() if name in logs]
        if parts:
            logger.info("step %d of %d: %s", state.global_step, state.max_steps, ", ".join(parts))

    def close(self) -> None:
        """Take the bar away; a run that fails has no `on_train_end`."""
        self._bar.stop()


class Pace(TrainerCallback):  # type: ignore[misc]
    """How fast a run is: tokens per second since the last entry of the log, and the time that is left.

    Attributes:
        earlier_s: Seconds that earlier parts of the run took.
    """

    def __init__(self, earlier_s: float = 0.0) -> None:
        self.earlier_s = earlier_s
        self._started = self._begun = self._last = time.monotonic()
        self._first_step: int | None = None
        self._last_tokens = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._first_step, self._last_tokens = state.global_step, state.num_input_tokens_seen
        self._begun = self._last = time.monotonic()

    def entry(self, state: TrainerState) -> dict[str, float]:
        """What to add to an entry of the log."""
        now = time.monotonic()
        found = {"seconds": round(self.earlier_s + now - self._started, 1)}
        if self._first_step is not None and state.global_step > self._first_step:
            n_steps = state.global_step - self._first_step
            n_tokens = state.num_input_tokens_seen - self._last_tokens
            if n_tokens:  # an evaluation is logged right after the step before it
                found["tokens_per_s"] = round(n_tokens / max(now - self._last, 1e-6), 1)
            found["minutes_left"] = round((state.max_steps - state.global_step) * (now - self._begun) / n_steps / 60, 2)
        self._last, self._last_tokens = now, state.num_input_tokens_seen
        return found


def tensorboard_callback(folder: Path) -> TrainerCallback:
    """Writes the log to `tensorboard` in the run folder."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return TensorBoardCallback(SummaryWriter(log_dir=str(folder / "tensorboard")))


def describe_device() -> dict[str, Any]:
    """What the run computes on."""
    if torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "n_devices": torch.cuda.device_count()}
    return {"device": "cpu", "n_threads": torch.get_num_threads()}
