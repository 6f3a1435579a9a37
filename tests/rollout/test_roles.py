"""Champion and challenger: set, promoted and rolled back, by everybody's record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.database.errors import StorageUnavailable
from service.face.registry import Registry
from service.gallery.embedded import open_embedded
from service.models import Models
from service.rollout.errors import ChampionUnavailable, NothingToRollBack
from service.rollout.roles import FRESH_SECONDS, Roles
from tests.rollout.conftest import Start, enrol, identify
from tests.waiting import PATIENCE, await_that


@pytest.fixture(scope="module")
def models(zoo: Path, model_dirs: tuple[Path, ...]) -> Models:
    return Models.load(Registry.scan([zoo, *model_dirs]), None, ("teacher",))


def put(client: TestClient, champion: str, challenger: str | None = None, sample: float = 0.0) -> Any:
    return client.put("/v1/roles", json={"champion": champion, "challenger": challenger, "sample": sample})


def champion(client: TestClient) -> str:
    return str(client.get("/v1/roles").json()["champion"]["name"])


def test_promotion_and_rollback_in_one_call_each_without_enrolling_again(
    start: Start, portrait: bytes, other_portrait: bytes
) -> None:
    client = start("teacher", "student")
    assert client.get("/v1/roles").json()["action"] == "settings"
    enrol(client, "person-1", portrait)
    assert put(client, "teacher", "student", 0.5).status_code == 200
    assert identify(client, portrait, fmr="0.01")["model"]["name"] == "teacher"

    promoted = client.post("/v1/roles/promote").json()
    assert (promoted["champion"]["name"], promoted["challenger"]["name"]) == ("student", "teacher")
    assert (promoted["sample"], promoted["can_roll_back"]) == (0.5, True)
    found = identify(client, portrait, fmr="0.01")
    assert found["model"]["name"] == "student"
    assert found["faces"][0]["candidates"][0]["subject"] == "person-1"
    defaults = {item["manifest"]["name"]: item["default"] for item in client.get("/v1/models").json()["items"]}
    assert (defaults["student"], defaults["teacher"]) == (True, False)

    client = start("teacher", "student")
    assert champion(client) == "student", "roles survive a restart"
    back = client.post("/v1/roles/rollback").json()
    assert (back["champion"]["name"], back["challenger"]["name"]) == ("teacher", "student")
    assert identify(client, portrait, fmr="0.01")["model"]["name"] == "teacher"
    history = client.get("/v1/roles/history", params={"limit": 2}).json()
    assert [made["action"] for made in history["items"]] == ["rollback", "promote"]
    rest = client.get("/v1/roles/history", params={"cursor": history["next_cursor"]}).json()
    assert [made["action"] for made in rest["items"]] == ["set"]
    assert rest["next_cursor"] is None


def test_rollback_goes_back_one_champion_at_a_time(start: Start) -> None:
    client = start("teacher", "student", "stranger")
    assert client.post("/v1/roles/rollback").json()["code"] == "nothing_to_roll_back"
    assert client.post("/v1/roles/promote").json()["code"] == "challenger_missing"
    for name, sample in (("student", 0.1), ("student", 0.2), ("stranger", 0.3)):
        assert put(client, name, "teacher", sample).status_code == 200
    first = client.post("/v1/roles/rollback").json()
    assert (first["champion"]["name"], first["sample"]) == ("student", 0.2)
    second = client.post("/v1/roles/rollback").json()
    assert (second["champion"]["name"], second["action"]) == ("teacher", "rollback")
    assert client.post("/v1/roles/rollback").status_code == 409


def test_a_rollback_goes_back_to_the_model_that_answered_whatever_the_settings_say_by_then(
    zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path
) -> None:
    registry = Registry.scan([zoo, *model_dirs])
    names = ("teacher", "student", "stranger")
    before, after = (Models.load(registry, None, names, default=name) for name in ("teacher", "stranger"))
    with closing(open_embedded(tmp_path)) as gallery:
        Roles(before, gallery.database).assign("key:1", "student", None, 0.0)
        roles = Roles(after, gallery.database)
        back = roles.rollback("key:1")
        assert back.champion == before.embedder("teacher").digest
        with pytest.raises(NothingToRollBack):
            roles.rollback("key:1")
        assert [each.action for each in roles.history().items] == ["rollback", "set", "settings"]


def test_nobody_waits_in_turn_for_a_database_that_hangs(models: Models) -> None:
    calls, hanging = Semaphore(0), Event()
    reads = []

    class Hanging:
        """Fails, all at once for whoever asks, when it has hung long enough."""

        def read(self, work: object) -> None:
            reads.append(work)
            hanging.wait()
            raise StorageUnavailable("the database hangs")

    def clock() -> float:
        calls.release()
        return 0.0

    hung: Any = Hanging()
    roles = Roles(models, hung, clock)
    with ThreadPoolExecutor(4) as pool, ExitStack() as stack:
        stack.callback(hanging.set)
        first = pool.submit(roles.current)
        await_that(lambda: bool(reads))
        while calls.acquire(blocking=False):
            pass  # the first's own
        others = [pool.submit(roles.current) for _ in range(3)]
        for _ in others:
            assert calls.acquire(timeout=PATIENCE), "nobody looks at the clock before waiting"
        stack.close()
        assert [type(each.exception()) for each in (first, *others)] == [StorageUnavailable] * 4
    assert len(reads) == 1
    with pytest.raises(StorageUnavailable):
        roles.current()
    assert len(reads) == 2, "whoever comes later tries again"


def test_a_champion_who_could_not_find_everybody_is_refused(
    start: Start, portrait: bytes, other_portrait: bytes
) -> None:
    client = start("teacher")
    client.post("/v1/collections", json={"name": "visitors"})
    enrol(client, "person-1", portrait)
    enrol(client, "person-1", portrait, collection="visitors")
    enrol(client, "person-2", other_portrait, collection="visitors")
    client = start("teacher", "student", "stranger")
    enrol(client, "person-3", other_portrait)
    assert put(client, "teacher", "stranger").status_code == 200
    refused = client.post("/v1/roles/promote")
    assert refused.status_code == 409
    assert refused.json()["code"] == "coverage_missing"
    assert refused.json()["faces"] == {"default": 1, "visitors": 2}
    assert champion(client) == "teacher"
    assert put(client, "stranger").json()["code"] == "coverage_missing"
    assert put(client, "student").status_code == 200, "templates of the same space will do"


def test_wrong_roles_are_refused(start: Start) -> None:
    client = start("teacher", "student")
    assert put(client, "teacher", "teacher").json()["code"] == "roles_invalid"
    assert put(client, "stranger").json()["code"] == "model_not_found"
    assert put(client, "teacher", "student", 1.5).status_code == 422
    assert client.get("/v1/roles").json()["action"] == "settings"


def test_a_champion_that_is_not_loaded_answers_nothing_by_another_model(start: Start, portrait: bytes) -> None:
    put(start("teacher", "student"), "student")
    client = start("teacher")
    files = {"image": ("face.jpg", portrait, "image/jpeg")}
    answer = client.post("/v1/identify", files=files)
    assert (answer.status_code, answer.json()["code"]) == (503, "champion_unavailable")
    assert "student@1.0.0" in answer.json()["detail"]
    assert client.get("/readyz").status_code == 503
    assert identify(client, portrait, model="teacher", fmr="0.01")["model"]["name"] == "teacher"
    assert put(client, "teacher").status_code == 200
    await_that(lambda: client.get("/readyz").status_code == 200)  # an outcome stands for a second


def test_another_process_follows_within_a_second(zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path) -> None:
    models = Models.load(Registry.scan([zoo, *model_dirs]), None, ("teacher", "student"))
    with_student_only = Models(models.detector, [models.embedder("student")])
    gallery = open_embedded(tmp_path)
    try:
        clock = [0.0]
        here, there = Roles(models, gallery.database), Roles(models, gallery.database, lambda: clock[0])
        elsewhere = Roles(with_student_only, gallery.database)
        assert there.champion().manifest.name == "teacher"
        here.assign("key:1", "student", "teacher", 0.25)
        assert here.champion().manifest.name == "student"
        assert there.champion().manifest.name == "teacher"
        clock[0] = FRESH_SECONDS
        assert (there.champion().manifest.name, there.current().sample) == ("student", 0.25)
        here.promote("key:1")
        with pytest.raises(ChampionUnavailable):
            elsewhere.champion()
        elsewhere.assign("key:1", "student", None, 0.0)
        with pytest.raises(ChampionUnavailable):
            elsewhere.rollback("key:1")
    finally:
        gallery.close()
