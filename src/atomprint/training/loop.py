"""The loop: trains anything that can say its loss on a batch."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from atomprint.data.batching import Batch
from atomprint.ground.errors import DataError
from atomprint.training.fsdp import reached_alike, unsharded
from atomprint.training.processes import add_up, largest
from atomprint.training.settings import LoopSettings
from atomprint.training.stopping import Stopped, StopRequests

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricOptimizer

Progress = Callable[[int, int, dict[str, float]], None]


class Task(Protocol):
    """What the loop trains: a module that says its loss."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch, and numbers for the log.

        Of a part of a batch, what it adds to the whole batch's.
        """


@dataclass
class TrainState:
    """Everything a run needs to continue as if it had never stopped.

    Attributes
    ----------
    step
        Steps done.
    best
        The best validation value so far (lower is better), with its step.
    stale
        Validations since the best one.
    seconds
        Training time so far, validation included.
    history
        What was logged: rows with ``step`` and numbers.
    """

    step: int = 0
    best: float = float("inf")
    best_step: int = -1
    stale: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class _Carrier:
    """Carries a batch past Fabric's conversion of inputs: geometry stays in float32.

    Under mixed precision only the network's matrix products are to be in bfloat16, which autocast
    sees to; and Fabric cannot rebuild frozen dataclasses.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class _Wrapped(nn.Module):
    """Gives Fabric a ``forward`` to wrap (precision, gradient sync) around a task's loss."""

    def __init__(self, task: nn.Module) -> None:
        super().__init__()
        self.task = task

    def forward(self, carrier: _Carrier) -> tuple[Tensor, dict[str, Tensor]]:
        result: tuple[Tensor, dict[str, Tensor]] = self.task.loss(carrier.batch)  # type: ignore[operator]
        return result


class Trainer:
    """Owns a task, its optimiser, the running mean of its weights and the state of the run.

    Parameters
    ----------
    task
        A module with a ``loss(batch)`` method.
    settings
        Of the loop.
    fabric
        Device, precision and processes.
    """

    def __init__(self, task: nn.Module, settings: LoopSettings, fabric: "Fabric") -> None:
        self.task = task
        self.settings = settings
        self.fabric = fabric
        self.state = TrainState()
        with warnings.catch_warnings():
            # Its new name is not in the oldest torch that serves.
            warnings.filterwarnings("ignore", message=".*broadcast_buffers")
            self.module = fabric.setup_module(_Wrapped(task))
        # After the weights are where they stay: their moments are sharded as they are.
        optimizer = torch.optim.AdamW(
            _parameter_groups(task, settings.optimizer.weight_decay),
            lr=settings.optimizer.learning_rate,
            # One pass over every weight instead of a dozen: 1 ms a step instead of 5.
            fused=fabric.device.type == "cpu",
        )
        self.optimizer = cast("_FabricOptimizer", fabric.setup_optimizers(optimizer))
        self._trained = [(k, v) for k, v in task.named_parameters() if v.requires_grad]
        self.averaged: dict[str, Tensor] = {}
        self.best_weights: dict[str, Tensor] = {}
        self.start_average()

    def start_average(self) -> None:
        """Begin the running mean of what is trained with the present weights."""
        self.averaged = {}
        if self.settings.optimizer.ema_decay > 0:
            self.averaged = {k: v.detach().clone() for k, v in self._trained}

    def last_weights(self) -> dict[str, Tensor]:
        """Return the running mean, with what is not trained as it is; without a mean the last."""
        return {**self.task.state_dict(), **self.averaged}

    def weights(self) -> dict[str, Tensor]:
        """Return the weights to keep: the best validated, else the running mean, else the last."""
        return self.best_weights or self.last_weights()

    def run(
        self,
        batches: Callable[[int, int], Iterator[Batch]],
        *,
        evaluate: Callable[[], dict[str, float]] | None = None,
        save: Callable[["Trainer"], None] | None = None,
        progress: Progress | None = None,
    ) -> TrainState:
        """Train from the present step to the last.

        Parameters
        ----------
        batches
            ``batches(start, stop)`` yields the batches of these steps.
        evaluate
            Validates the present (averaged) weights; returns numbers, of which ``value`` (lower
            is better) decides which weights are kept and when to stop early; without it the last
            ones are kept.
        save
            Called at every checkpoint.
        progress
            Called as ``progress(step, n_steps, numbers)``.

        Raises
        ------
        DataError
            If the loss stops being a finite number.
        Stopped
            If there is a ``save``, and SIGINT or SIGTERM came: the step was finished and saved.
        """
        with StopRequests() if save is not None else nullcontext() as requests:
            return self._run(batches, evaluate, save, progress, requests)

    def _run(
        self,
        batches: Callable[[int, int], Iterator[Batch]],
        evaluate: Callable[[], dict[str, float]] | None,
        save: Callable[["Trainer"], None] | None,
        progress: Progress | None,
        requests: StopRequests | None,
    ) -> TrainState:
        settings, state = self.settings, self.state
        optimizer = settings.optimizer
        started = time.perf_counter() - state.seconds
        n_parts = self.fabric.world_size
        sums: dict[str, float] = {}
        n_summed = 0
        speed = _Speed()
        self.task.train()
        for batch in batches(state.step, settings.n_steps):
            rate = optimizer.learning_rate * optimizer.factor(state.step, settings.n_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss, log = self.module(_Carrier(batch.to(self.fabric.device)))
            loss = reached_alike(loss, self.task)
            self.optimizer.zero_grad()
            # Gradients of parts are averaged where they are to be added.
            self.fabric.backward(loss * n_parts if n_parts > 1 else loss)
            self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=optimizer.clip, error_if_nonfinite=False
            )
            self.optimizer.step()
            self._average()
            state.step += 1
            for name, value in {"loss": loss.detach(), **log}.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            n_summed += 1
            speed.count(batch)
            last = state.step == settings.n_steps
            numbers: dict[str, float] = {}
            # Told to those who watch, and no part of the history, which is the same in every run.
            speeds: dict[str, float] = {}
            if state.step % settings.log_every == 0 or last:
                sums = add_up(sums, self.fabric)
                numbers = {f"train/{k}": v / n_summed for k, v in sums.items()}
                numbers["learning_rate"] = rate
                if not numbers["train/loss"] < float("inf"):
                    raise DataError(
                        f"the training loss is {numbers['train/loss']} at step {state.step}; "
                        "lower optimizer.learning_rate or look for absurd labels"
                    )
                sums, n_summed = {}, 0
                speeds = speed.read(self.fabric)
            if evaluate is not None and (state.step % settings.validation_interval == 0 or last):
                with speed.paused():
                    numbers |= {f"valid/{k}": v for k, v in self._validate(evaluate).items()}
            state.seconds = time.perf_counter() - started
            if numbers:
                state.history.append({"step": float(state.step), **numbers})
                self.fabric.log_dict(numbers | speeds, step=state.step)
            if progress is not None:
                progress(state.step, settings.n_steps, numbers | speeds)
            stop = settings.patience > 0 and state.stale >= settings.patience
            if save is not None and (state.step % settings.checkpoint_every == 0 or last or stop):
                with speed.paused():
                    save(self)
            if stop:
                break
            # All processes stop after the same step, whichever of them was asked.
            asked = largest((requests and requests.asked) or 0, self.fabric) if save else 0
            if save is not None and asked:
                if not last:
                    save(self)
                raise Stopped(asked, state.step)
        return state

    def _average(self) -> None:
        decay = self.settings.optimizer.ema_decay
        if decay == 0:
            return
        # A short memory at the start, so that the random weights are forgotten early.
        decay = min(decay, (1 + self.state.step) / (10 + self.state.step))
        means = [self.averaged[name] for name, _ in self._trained]
        with torch.no_grad():
            torch._foreach_lerp_(means, [value for _, value in self._trained], 1 - decay)

    def _validate(self, evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
        own = None
        if self.averaged:
            own = {k: v.detach().clone() for k, v in self._trained}
            self.task.load_state_dict(self.averaged, strict=False)
        self.task.eval()
        with unsharded(self.task):
            numbers = evaluate()
        value = numbers.get("value")
        if value is not None and value < self.state.best:
            self.state.best, self.state.best_step = value, self.state.step
            self.state.stale = 0
            self.best_weights = {k: v.detach().clone() for k, v in self.task.state_dict().items()}
        elif value is not None:
            self.state.stale += 1
        if own is not None:
            self.task.load_state_dict(own, strict=False)
        self.task.train()
        return numbers


class _Speed:
    """Crystals and atoms a second of all processes, without validation and checkpoints."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._counts = {"crystals/s": 0.0, "atoms/s": 0.0}

    def count(self, batch: Batch) -> None:
        """Count what a step was of, or this process's part of it."""
        self._counts["crystals/s"] += batch.graph.n_crystals
        self._counts["atoms/s"] += batch.graph.n_atoms

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do something that is no step."""
        began = time.perf_counter()
        yield
        self._since += time.perf_counter() - began

    def read(self, fabric: "Fabric") -> dict[str, float]:
        """Say the speed since this was last done; every process must call it."""
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        speeds = {name: n / seconds for name, n in add_up(self._counts, fabric).items()}
        self._since, self._counts = now, dict.fromkeys(self._counts, 0.0)
        return speeds


def _parameter_groups(task: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: not biases, norms or the learned widths of tasks."""
    trained = [p for p in task.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
