"""The challenger decides sampled requests after their answers, within its budget, and keeps nothing biometric."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from service.database.schema import decision_results, decisions, new_id, now
from service.decision import OperatingPoint
from service.engine.engine import Engine, EngineLimits
from service.face.decoding.image import ImageLimits
from service.face.embedding.embed import Embedder
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.gallery.embedded import open_embedded
from service.gallery.records import NewFace
from service.models import Models
from service.pipeline import Perception
from service.rollout.decision_log import DecisionLog, LogQuery, Retention
from service.rollout.metrics import RolloutMetrics
from service.rollout.model_decision import IDENTIFY, VERIFY, ModelDecision
from service.rollout.roles import Roles
from service.rollout.sampling import SampledDecision
from service.rollout.shadow import Budget, Shadow
from service.rollout.shadow_evaluation import ShadowEvaluation
from tests.rollout.conftest import Start, enrol, identify
from tests.waiting import PATIENCE, await_that


def cases_of(client: TestClient, count: int, **query: Any) -> list[dict[str, Any]]:
    """The cases, oldest first, once there are `count`."""

    def enough() -> list[dict[str, Any]]:
        answer = client.get("/v1/comparisons/cases", params={"disagreeing": False, **query})
        assert answer.status_code == 200, answer.text
        items = list(reversed(answer.json()["items"]))
        return items if len(items) >= count else []

    return await_that(enough)


def series(client: TestClient, name: str) -> dict[str, float]:
    """Samples of one series by their labels."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_every_kind_of_decision_is_compared(
    start: Start, portrait: bytes, other_portrait: bytes, dim_portrait: bytes
) -> None:
    client = start("teacher", "student", shadow_cpu=1.0)
    enrol(client, "person-1", portrait)
    enrol(client, "person-2", other_portrait)
    roles = {"champion": "teacher", "challenger": "student", "sample": 1.0}
    assert client.put("/v1/roles", json=roles).status_code == 200
    images = {"probe": ("p.jpg", dim_portrait, "image/jpeg"), "reference": ("r.jpg", portrait, "image/jpeg")}
    two = client.post("/v1/verify", data={"fmr": "0.001"}, files=images, headers={"X-Request-ID": "two-images"}).json()
    probe = {"probe": images["probe"]}
    client.post("/v1/verify", data={"subject": "person-2", "fmr": "0.001"}, files=probe)
    found = identify(client, dim_portrait, fmr="0.01")
    identify(client, dim_portrait, fmr="0.01", model="student")  # not the champion: not sampled

    first, second, third = cases_of(client, 3)
    assert (first["request_id"], first["route"], first["collection"]) == ("two-images", "verify", None)
    assert first["champion_score"] == two["score"]
    assert first["champion_threshold"] == 0.4
    assert first["challenger_threshold"] == 0.45
    assert first["challenger_score"] == pytest.approx(two["score"], abs=0.1)
    assert first["challenger_score"] != two["score"]
    assert (first["champion_decision"], first["challenger_decision"], first["agree"]) == ("match", "match", True)
    assert (second["champion_decision"], second["challenger_decision"]) == ("no_match", "no_match")
    assert (second["champion_rank"], second["collection"]) == (1, "default")
    assert (third["route"], third["champion_rank"], third["challenger_rank"]) == ("identify", 1, 1)
    assert third["champion_score"] == found["faces"][0]["candidates"][0]["score"]
    assert third["champion_fmr"] == pytest.approx(0.01)
    assert third["challenger_fmr"] == pytest.approx(0.01)
    assert 0 < third["challenger_seconds"] < PATIENCE
    assert series(client, "facet_comparisons_total") == {
        f'facet_comparisons_total{{agree="yes",challenger="student@1.0.0",challenger_decision="{decision}",'
        f'champion="teacher@1.0.0",champion_decision="{decision}",route="{route}"}}': 1.0
        for route, decision in (("verify", "match"), ("verify", "no_match"), ("identify", "match"))
    }
    assert series(client, "facet_shadow_dropped_total") == {}
    assert series(client, "facet_role_sample") == {"facet_role_sample": 1.0}


def test_without_a_challenger_the_champions_decisions_are_kept(start: Start, portrait: bytes) -> None:
    client = start("teacher", shadow_cpu=1.0)
    enrol(client, "person-1", portrait)
    identify(client, portrait, fmr="0.01")
    client.put("/v1/roles", json={"champion": "teacher", "sample": 1.0})
    identify(client, portrait, fmr="0.01")
    (case,) = cases_of(client, 1)
    assert (case["champion_decision"], case["challenger"], case["agree"]) == ("match", None, None)


def test_a_claim_against_several_pictures_promises_the_rate_that_was_asked(
    start: Start, portrait: bytes, dim_portrait: bytes
) -> None:
    client = start("teacher", "student", shadow_cpu=1.0)
    enrol(client, "person-1", portrait)
    enrol(client, "person-1", dim_portrait)
    client.put("/v1/roles", json={"champion": "teacher", "challenger": "student", "sample": 1.0})
    probe = {"probe": ("p.jpg", portrait, "image/jpeg")}
    client.post("/v1/verify", data={"subject": "person-1", "fmr": "0.01"}, files=probe)
    (case,) = cases_of(client, 1)
    assert case["champion_threshold"] > 0.3, "each picture is decided at its share of the rate"
    assert case["champion_fmr"] == pytest.approx(0.01)
    assert case["challenger_fmr"] == pytest.approx(0.01)


def test_a_challenger_that_cannot_decide_costs_the_champion_nothing(start: Start, portrait: bytes) -> None:
    enrol(start("teacher"), "person-1", portrait)
    client = start("teacher", "stranger", shadow_cpu=1.0)
    client.put("/v1/roles", json={"champion": "teacher", "challenger": "stranger", "sample": 1.0})
    assert identify(client, portrait, fmr="0.01")["faces"][0]["decision"] == "match"
    await_that(lambda: series(client, "facet_shadow_dropped_total"))
    assert series(client, "facet_shadow_dropped_total") == {'facet_shadow_dropped_total{reason="space_mismatch"}': 1.0}


def test_the_record_of_a_case_has_no_place_for_an_image_or_a_template() -> None:
    columns = [*decisions.columns, *decision_results.columns]
    kinds = {type(column.type) for column in columns}
    assert not kinds & {sa.LargeBinary, sa.JSON, sa.Text}
    longest = max(column.type.length for column in columns if isinstance(column.type, sa.String))
    assert longest <= 255


class Stage:
    """A shadow on real models and a real gallery, without a web server."""

    def __init__(self, zoo: Path, model_dirs: tuple[Path, ...], data: Path) -> None:
        self.models = Models.load(Registry.scan([zoo, *model_dirs]), None, ("teacher", "student"))
        self.gallery = open_embedded(data)
        self.roles = Roles(self.models, self.gallery.database)
        self.roles.assign("test", "teacher", "student", 1.0)
        perception = Perception(self.models.detector, ImageLimits(), QualityLimits())
        self.engine = Engine(self.models, perception, self.gallery, EngineLimits())
        self.registry = CollectorRegistry()
        self.metrics = RolloutMetrics(self.registry)
        self.decisions = DecisionLog(self.gallery.database, Retention(1000, 30))

    def shadow(self, budget: Budget, busy: Callable[[], bool]) -> Shadow:
        return Shadow(self.roles, ShadowEvaluation(self.engine), self.decisions, self.metrics, budget, busy)

    def sampled(self, request_id: str = "r") -> SampledDecision:
        crops = np.random.default_rng(3).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        decision = ModelDecision(self.models.default.digest, 0.5, 0.4, 1e-3, "match", (), 0.01)
        return SampledDecision(request_id, "key:a", now(), VERIFY, None, None, OperatingPoint(), crops, 1, (decision,))

    def kept(self) -> int:
        self.gallery.database.write(lambda connection: None)  # what was deferred travels along
        digests = [self.models.embedder(name).digest for name in ("teacher", "student")]
        return len(self.decisions.all(LogQuery(*digests)))

    def dropped(self, reason: str) -> float | None:
        return self.registry.get_sample_value("facet_shadow_dropped_total", {"reason": reason})


def offer(shadow: Shadow, model: Embedder, take: Callable[[], SampledDecision]) -> None:
    shadow.offer(model, take)


@pytest.fixture
def stage(zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path) -> Any:
    made = Stage(zoo, model_dirs, tmp_path)
    yield made
    made.gallery.close()


def test_while_requests_wait_nothing_is_compared_and_a_full_queue_drops(stage: Stage) -> None:
    waiting = threading.Event()
    waiting.set()
    shadow = stage.shadow(Budget(queue=4, cpu=1.0), waiting.is_set)
    try:
        offer(shadow, stage.models.default, stage.sampled)
        await_that(lambda: not shadow.waiting())  # the thread takes one, and rests with it
        for _ in range(10):  # an offer that waited for a place would wait for ever
            offer(shadow, stage.models.default, stage.sampled)
        assert shadow.waiting() == 4
        assert stage.dropped("queue_full") == 6
        assert stage.kept() == 0
        waiting.clear()
        await_that(lambda: stage.kept() == 5)
    finally:
        shadow.close()


def test_comparing_takes_no_more_than_its_share_of_the_time(stage: Stage) -> None:
    share = 0.2
    others = {each.native_id for each in threading.enumerate()}
    shadow = stage.shadow(Budget(queue=64, cpu=share), lambda: False)
    try:
        started = {each.native_id or 0 for each in threading.enumerate() if each.name == "facet-shadow"}
        (thread,) = started - others
        begun, before = time.perf_counter(), _cpu_seconds(thread)
        for _ in range(64):
            offer(shadow, stage.models.default, stage.sampled)
        await_that(lambda: stage.kept() >= 12)
        kept, used = stage.kept(), _cpu_seconds(thread) - before
        # One or two cases may be under way, and the kernel counts in hundredths of a second.
        assert used * (1 - 2 / kept) <= share * (time.perf_counter() - begun) + 0.02
        assert _nice(thread) == 10
    finally:
        shadow.close()


def test_only_the_champions_decisions_are_taken(stage: Stage) -> None:
    shadow = stage.shadow(Budget(queue=4, cpu=1.0), lambda: False)
    try:
        offer(shadow, stage.models.embedder("student"), lambda: pytest.fail("taken"))
        stage.roles.assign("test", "teacher", "student", 0.0)
        offer(shadow, stage.models.default, lambda: pytest.fail("taken"))
    finally:
        shadow.close()


def test_many_faces_are_embedded_a_few_at_a_time_while_there_is_room(stage: Stage) -> None:
    looks: list[int] = []
    student, sampled = stage.models.embedder("student"), stage.sampled()
    stage.gallery.create_collection("crew")
    face = NewFace(new_id(), {student.digest: student.embed(sampled.crops[:1])[0]})
    stage.gallery.enroll("crew", "somebody", [face])
    crowd = np.repeat(sampled.crops[:1], 10, axis=0)
    asked = replace(sampled, route=IDENTIFY, collection="crew", crops=crowd, decisions=sampled.decisions * 10)
    made = ShadowEvaluation(stage.engine).decide(asked, student, lambda: looks.append(1))
    assert len(made) == 10
    assert all(decision.score == pytest.approx(1.0, abs=1e-3) for decision in made)
    assert len(looks) == 3


def test_a_score_given_by_the_caller_becomes_a_score_of_the_same_rate(stage: Stage) -> None:
    sampled = stage.sampled()
    student = stage.models.embedder("student")
    given = replace(sampled, point=OperatingPoint(threshold=0.4))
    (decision,) = ShadowEvaluation(stage.engine).decide(given, student, lambda: None)
    assert decision.threshold == 0.45
    assert decision.fmr == pytest.approx(1e-3)
    assert decision.seconds > 0
    assert not math.isnan(decision.score or math.nan)


def test_cases_beyond_the_retention_are_deleted(stage: Stage) -> None:
    clock = [0.0]
    log = DecisionLog(stage.gallery.database, Retention(3, 30), lambda: clock[0])
    for number in range(6):
        log.keep(stage.sampled(f"r{number}"), stage_opinions(stage))
    clock[0] = 100.0
    log.keep(stage.sampled("last"), stage_opinions(stage))
    assert stage.kept() == 3
    short = DecisionLog(stage.gallery.database, Retention(3, 1e-9), lambda: 0.0)
    short.prune()
    assert stage.kept() == 0


def stage_opinions(stage: Stage) -> tuple[ModelDecision, ...]:
    return (ModelDecision(stage.models.embedder("student").digest, 0.4, 0.45, 1e-3, "no_match", (), 0.01),)


def _cpu_seconds(thread: int) -> float:
    fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _nice(thread: int) -> int:
    return int(Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[16])
