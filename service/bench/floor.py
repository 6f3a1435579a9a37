"""The floor: the same work in a plain loop, on all cores, with no server in between."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from typing import cast

import cv2
import numpy as np

from service.bench.errors import BenchError
from service.errors import FacetError
from service.face.align import align
from service.face.decoding.image import ImageLimits, decode
from service.face.detection.detect import Detector
from service.face.detection.search import Seek
from service.face.embedding.embed import Embedder
from service.face.registry import Registry
from service.face.score import cosine
from service.models import load_models
from service.pipeline import USUAL_SIDE
from service.settings import Settings

STAGES = ("decode", "detect", "align", "embed")


@dataclass(frozen=True, slots=True)
class Floor:
    """What a plain loop of comparisons manages.

    Comparisons of two photographs a second on all cores, the cores that this really got, and the CPU milliseconds that
    each stage of one photograph took there.
    """

    rate: float
    cores: float
    milliseconds: dict[str, float]
    processes: int


def measure_floor(settings: Settings, photos: Sequence[bytes], seconds: float) -> Floor:
    """Compare pairs of photographs for `seconds` in one process per core.

    Raises: BenchError when a process fails, for want of a face in a photograph say.
    """
    context = multiprocessing.get_context("spawn")
    processes = len(os.sched_getaffinity(0))
    together = context.Barrier(processes)
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    workers = [
        context.Process(target=_work, args=(settings, tuple(photos), seconds, together, sender)) for _, sender in pipes
    ]
    for worker in workers:
        worker.start()
    for _, sender in pipes:
        sender.close()
    try:
        results = _gather([receiver for receiver, _ in pipes], together)
    finally:
        for worker in workers:
            worker.join()
    pairs = sum(result.pairs for result in results)
    rate = sum(result.pairs / result.seconds for result in results)
    cores = sum(result.cpu_seconds / result.seconds for result in results)
    spent = {stage: sum(result.spent[stage] for result in results) for stage in STAGES}
    return Floor(rate, cores, {stage: 1000 * total / (2 * pairs) for stage, total in spent.items()}, processes)


def served_models(settings: Settings) -> tuple[Detector, Embedder]:
    """The detector and the default embedder that the service loads with these settings. Raises: ModelError."""
    registry = Registry.scan(settings.model_directories)
    models = load_models(registry, settings.inference)
    return models.detector, models.default


@dataclass(frozen=True, slots=True)
class _Result:
    """Of one process: pairs compared, the seconds and CPU seconds that took, and the seconds of each stage."""

    pairs: int
    seconds: float
    cpu_seconds: float
    spent: dict[str, float]


def _gather(receivers: Sequence[Connection], together: Barrier) -> list[_Result]:
    """What all processes found, as they end. Raises: BenchError for the first that failed, when all have ended."""
    waiting = list(receivers)
    results: list[_Result] = []
    failures: list[BenchError] = []
    while waiting:
        for receiver in cast(list[Connection], wait(waiting)):
            waiting.remove(receiver)
            try:
                results.append(_receive(receiver))
            except BenchError as failure:
                failures.append(failure)
                together.abort()  # or the others would wait for that process for ever
    if failures:
        raise failures[0]
    return results


def _receive(receiver: Connection) -> _Result:
    try:
        result = receiver.recv()
    except EOFError as error:
        raise BenchError("a process of the floor ended early; its message stands above") from error
    if isinstance(result, str):
        raise BenchError(result)
    return cast(_Result, result)


def _work(settings: Settings, photos: Sequence[bytes], seconds: float, together: Barrier, sender: Connection) -> None:
    try:
        sender.send(_loop(settings, photos, seconds, together))
    except FacetError as error:
        sender.send(str(error))
    except threading.BrokenBarrierError:
        sender.send("another process of the floor failed")


def _loop(settings: Settings, photos: Sequence[bytes], seconds: float, together: Barrier) -> _Result:
    cv2.setNumThreads(1)  # as the service does; a process per core needs no more
    detector, embedder = served_models(settings)
    limits = ImageLimits(max_bytes=settings.limits.max_image_bytes, max_pixels=settings.limits.max_image_pixels)
    spent = dict.fromkeys(STAGES, 0.0)
    for first in range(len(photos)):  # every photograph once, to warm up
        _compare(photos, first, detector, embedder, limits, spent)
    spent = dict.fromkeys(STAGES, 0.0)
    together.wait()
    pairs, begun, cpu = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - begun) < seconds:
        _compare(photos, pairs, detector, embedder, limits, spent)
        pairs += 1
    return _Result(pairs, elapsed, time.process_time() - cpu, spent)


def _compare(
    photos: Sequence[bytes],
    first: int,
    detector: Detector,
    embedder: Embedder,
    limits: ImageLimits,
    spent: dict[str, float],
) -> float:
    crops = []
    for offset in (0, 1):
        begun = time.thread_time()
        photo = decode(photos[(first + offset) % len(photos)], limits, USUAL_SIDE)
        decoded = time.thread_time()
        faces = detector.detect(photo.pixels, Seek.PROMINENT)
        detected = time.thread_time()
        if not faces:
            raise BenchError("a photograph shows no face; to compare the service with its floor every one must")
        crops.append(align(photo.pixels, faces[0].landmarks))
        aligned = time.thread_time()
        spent["decode"] += decoded - begun
        spent["detect"] += detected - decoded
        spent["align"] += aligned - detected
    begun = time.thread_time()
    vectors = embedder.embed(np.stack(crops))
    spent["embed"] += time.thread_time() - begun
    return float(cosine(vectors[0], vectors[1]))
