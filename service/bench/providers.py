"""What models cost on the execution providers of this machine, beside ONNX Runtime's own on the CPU.

Each model on each provider is a process of its own: a provider that crashes is a line of the result, and none warms up
another's caches. They are measured in turn, so that other work on the machine meets all of them.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray

from service.bench.errors import BenchError
from service.errors import FacetError
from service.face.registry import MODEL, Registry
from service.face.session import PROVIDERS, ModelSession, Runtime, installed_providers

if TYPE_CHECKING:
    from service.settings import Settings

OWN = "cpu"
FREE = (1, 3, 480, 640)
"""Sizes where a model leaves them free: one photograph as the detector sees it."""
SEED = 7


class Spent(NamedTuple):
    """Seconds of one inference."""

    cpu: float
    wall: float


@dataclass
class Cost:
    """A model on one provider."""

    model: str
    provider: str
    load_seconds: float = float("nan")
    turns: list[Spent] = field(default_factory=list)
    difference: float = float("nan")
    """Of the outputs from those of `cpu`: length of the difference over the length."""
    failure: str | None = None

    @property
    def typical(self) -> Spent:
        """The median of the turns."""
        return Spent(*np.median(np.array(self.turns), axis=0).tolist())

    def ratio_to(self, other: Cost) -> float:
        """CPU time over another's: the median over turns, each of which measured both."""
        return float(np.median([mine.cpu / theirs.cpu for mine, theirs in zip(self.turns, other.turns, strict=True)]))


class Loaded(NamedTuple):
    """How long a model took to load and to run once, and what came out, one after the other."""

    seconds: float
    outputs: NDArray[np.float32]


class Worker:
    """A process with one model on one provider, which runs it when it is asked to."""

    def __init__(self, path: Path, provider: str) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, path, provider), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()  # which the process takes as its end
        self.process.join()

    def loaded(self) -> Loaded:
        """Wait until the model is loaded and has run once. Raises: BenchError when it cannot be."""
        answer = self._answer()
        if isinstance(answer, str):
            raise BenchError(answer)
        return cast(Loaded, answer)

    def run(self, count: int) -> Spent:
        """Time some inferences; returns the mean. Raises: BenchError when the process ends over it."""
        try:
            self._ours.send(count)
        except OSError:
            raise BenchError(self._end()) from None
        return cast(Spent, self._answer())

    def _answer(self) -> object:
        try:
            return self._ours.recv()
        except (EOFError, OSError):
            raise BenchError(self._end()) from None

    def _end(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return f"the process ended by {signal.Signals(-code).name}" if code < 0 else f"the process ended with {code}"


def _work(pipe: Connection, path: Path, provider: str) -> None:
    """The worker's process: load, run once, then run as often as it is asked to."""
    begun = time.perf_counter()
    try:
        session = ModelSession(path, Runtime.on(provider))
        shape = [size or free for size, free in zip(session.input_shape, FREE, strict=True)]
        tensor = np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32)
        outputs = session.run(tensor)
    except FacetError as error:
        pipe.send(str(error))
        return
    pipe.send(Loaded(time.perf_counter() - begun, np.concatenate([value.ravel() for value in outputs.values()])))
    while True:
        try:
            count = pipe.recv()
        except EOFError:
            return
        spent, begun = time.process_time(), time.perf_counter()
        for _ in range(count):
            session.run(tensor)
        pipe.send(Spent((time.process_time() - spent) / count, (time.perf_counter() - begun) / count))


def measure_providers(settings: Settings, providers: Sequence[str], turns: int, inferences: int) -> Iterator[Cost]:
    """Time every model of the model folders on every provider, `cpu` first and beside the others.

    Args:
        settings: Name the model folders.
        providers: Short names of execution providers; none stands for all that are installed.
        turns: Times that each provider is measured, one after the other.
        inferences: Inferences of one measurement.

    Raises: BenchError.
    """
    if turns < 1 or inferences < 1:
        raise BenchError("at least one turn of one inference is needed")
    if unknown := [name for name in providers if name not in PROVIDERS]:
        raise BenchError(f"no execution provider {', '.join(unknown)}; there are {', '.join(PROVIDERS)}")
    others = [name for name in dict.fromkeys(providers or installed_providers()) if name != OWN]
    for folder in Registry.scan(settings.model_directories).folders():
        costs = [Cost(folder.manifest.identity, name) for name in (OWN, *others)]
        _measure(folder.path / MODEL, costs, turns, inferences)
        yield from costs


def _measure(path: Path, costs: list[Cost], turns: int, inferences: int) -> None:
    with ExitStack() as stack:
        workers, outputs = [stack.enter_context(Worker(path, cost.provider)) for cost in costs], {}
        for cost, worker in zip(costs, workers, strict=True):
            try:
                cost.load_seconds, outputs[cost.provider] = worker.loaded()
            except BenchError as error:
                cost.failure = str(error)
                continue
            if OWN in outputs:
                apart = outputs[cost.provider] - outputs[OWN]
                cost.difference = float(np.linalg.norm(apart) / np.linalg.norm(outputs[OWN]))
        for turn in range(turns + 1):
            for cost, worker in zip(costs, workers, strict=True):
                if cost.failure is None:
                    try:
                        spent = worker.run(inferences)
                    except BenchError as error:
                        cost.failure = str(error)
                        continue
                    if turn:  # the first warms up
                        cost.turns.append(spent)
