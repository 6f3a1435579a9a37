"""Models come and go while requests go on, and every process follows."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.api.services import Services
from service.decision import OperatingPoint
from service.face.cross_model import PAIRS
from service.face.errors import ModelNotFound
from service.face.model_import import add_model
from service.face.registry import MANIFEST, MODEL, Registry
from service.face.session import Runtime
from service.gallery.embedded import open_embedded
from service.gallery.errors import DuplicateSubject
from service.gallery.records import DuplicatePolicy
from service.models import Models
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.errors import ChampionUnavailable, ModelInUse, ModelRefused
from service.rollout.model_loading import ModelLoading
from service.rollout.roles import Roles
from service.rollout.wishes import last_wishes
from service.runtime.timing import Stages
from tests.rollout.conftest import TEACHER_ROWS, Start, _disturb, _spec, enrol, identify


def loaded(client: TestClient) -> set[str]:
    return {each["manifest"]["name"] for each in client.get("/v1/models").json()["items"] if each["loaded"]}


def change(client: TestClient, action: str, name: str) -> tuple[int, Any]:
    answer = client.post(f"/v1/models/{name}/{action}")
    return answer.status_code, answer.json()


def services_of(client: TestClient) -> Services:
    services: Services = client.app.state.services  # type: ignore[attr-defined]
    return services


def test_a_model_put_into_the_folder_answers_without_a_restart(
    start: Start, tmp_path: Path, model_dirs: tuple[Path, ...], portrait: bytes
) -> None:
    client = start("teacher")
    found = Registry.scan(model_dirs).folders("embedder")[0]
    graph = _disturb(found.model_path, tmp_path / "arrival.onnx", 0.01)
    assert change(client, "load", "arrival")[1]["code"] == "model_not_found"
    add_model(graph, _spec(found, "arrival", None, TEACHER_ROWS), tmp_path / "data" / "models")
    status, told = change(client, "load", "arrival")
    assert (status, told["loaded"], told["manifest"]["version"]) == (200, True, "1.0.0")
    assert change(client, "load", "arrival")[0] == 200  # it is loaded already
    enrol(client, "ann", portrait)
    assert identify(client, portrait, model="arrival", fmr="0.01")["faces"][0]["decision"] == "match"
    series = f'facet_model_info{{digest="{told["manifest"]["sha256"]}"'
    assert series in client.get("/metrics").text
    assert change(client, "unload", "arrival")[0] == 200
    assert series not in client.get("/metrics").text
    answer = client.post("/v1/identify", data={"model": "arrival"}, files={"image": ("i", portrait)})
    assert answer.json()["code"] == "model_not_found"
    actions = [each["action"] for each in client.get("/v1/audit").json()["items"]]
    assert actions.count("load_model") == 3
    assert actions.count("unload_model") == 1


def test_what_fails_its_checks_is_refused_in_words(start: Start, tmp_path: Path, zoo: Path) -> None:
    client = start("teacher")
    models = tmp_path / "data" / "models"
    student = Registry.scan([zoo]).find("student").path
    manifest = json.loads((student / MANIFEST).read_text())

    def put(name: str, **changes: Any) -> None:
        shutil.copytree(student, models / name)
        text = {key: value for key, value in {**manifest, "name": name, **changes}.items() if value is not None}
        (models / name / MANIFEST).write_text(json.dumps(text))

    put("damaged")
    with (models / "damaged" / MODEL).open("ab") as file:
        file.write(b"x")
    put("unlicensed", licence=None)
    before = loaded(client)
    for name, word in (("damaged", "sha256"), ("unlicensed", "licence"), ("facet-detector", "restart")):
        status, told = change(client, "load", name)
        assert (status, told["code"]) == (422, "model_refused"), told
        assert word in told["detail"]
    assert loaded(client) == before
    assert services_of(client).gallery.database.read(last_wishes) == []


def test_what_is_in_use_stays(start: Start) -> None:
    client = start("teacher", "student", "stranger")
    client.put("/v1/roles", json={"champion": "student", "challenger": "stranger", "sample": 0.1})
    for name, use in (("student", "champion"), ("stranger", "challenger"), ("teacher", "default of the settings")):
        status, told = change(client, "unload", name)
        assert (status, told["code"]) == (409, "model_in_use")
        assert use in told["detail"]
    assert loaded(client) >= {"teacher", "student", "stranger"}
    client.put("/v1/roles", json={"champion": "teacher"})
    assert change(client, "unload", "student")[0] == 200


def test_a_request_ends_with_the_model_that_it_began_with(start: Start, portrait: bytes) -> None:
    client = start("teacher", "student")
    enrol(client, "ann", portrait)
    engine = services_of(client).engine
    student = engine.embedder("student")
    assert change(client, "unload", "student")[0] == 200
    decided = engine.identify("default", portrait, student, OperatingPoint(fmr=0.01), Stages())
    assert decided.faces[0].candidates[0].subject == "ann"


def test_requests_go_on_meanwhile(start: Start, portrait: bytes) -> None:
    client = start("teacher", "student")
    enrol(client, "ann", portrait)
    with ThreadPoolExecutor(2) as pool:
        searches = [pool.submit(identify, client, portrait, model="teacher", fmr="0.01") for _ in range(6)]
        searches += [pool.submit(identify, client, portrait, fmr="0.01") for _ in range(6)]
        for _ in range(5):
            assert change(client, "unload", "student")[0] == 200
            assert change(client, "load", "student")[0] == 200
        assert {search.result()["faces"][0]["candidates"][0]["subject"] for search in searches} == {"ann"}


def test_a_restart_keeps_what_was_wished(start: Start) -> None:
    client = start("teacher", "student")
    assert change(client, "unload", "student")[0] == 200
    assert change(client, "load", "stranger")[0] == 200
    assert loaded(start("teacher", "student")) & {"teacher", "student", "stranger"} == {"teacher", "stranger"}


class Replica:
    """One process's models on a database that others use too."""

    def __init__(self, database: Any, *directories: Path) -> None:
        registry = Registry.scan(directories)
        self.directories = list(directories)
        self.models = Models.load(registry, None, ("teacher",))
        self.roles = Roles(self.models, database, lambda: float("inf"))
        self.loading = ModelLoading(
            self.models, registry, self.roles, database, lambda: self.directories, lambda _: Runtime(), lambda: None
        )

    def add_folder(self, folder: Path) -> Path:
        """A folder of models that comes before all others from now on."""
        self.directories.insert(0, folder)
        folder.mkdir()
        return folder

    @property
    def names(self) -> set[str]:
        return {embedder.manifest.name for embedder in self.models.embedders}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        yield stack.enter_context(closing(open_embedded(tmp_path / "data"))).database


def test_the_other_replicas_follow(database: Any, zoo: Path, model_dirs: tuple[Path, ...]) -> None:
    here, there = (Replica(database, zoo, *model_dirs) for _ in range(2))
    here.loading.load("key:1", "student")
    assert there.names == {"teacher"}
    there.loading.follow()
    assert here.names == there.names == {"teacher", "student"}
    assert there.models.calibration(there.models.embedder("student"), [there.models.embedder("teacher").digest])
    there.loading.unload("key:1", "student")
    here.roles.assign("key:1", "teacher", None, 0.0)
    with pytest.raises(ChampionUnavailable, match="being unloaded"):
        here.roles.assign("key:1", "student", None, 0.0)
    with pytest.raises(ModelNotFound, match="being unloaded"):
        here.roles.assign("key:1", "teacher", "student", 0.0)
    with pytest.raises(ModelNotFound, match="being unloaded"):
        Reembeddings(here.models, database, here.roles).start("key:1", "student", None, 1.0)
    here.loading.follow()
    assert here.names == {"teacher"}


def test_a_role_given_elsewhere_keeps_a_model(database: Any, zoo: Path, model_dirs: tuple[Path, ...]) -> None:
    here, there = (Replica(database, zoo, *model_dirs) for _ in range(2))
    here.loading.load("key:1", "student")
    there.loading.follow()
    there.roles.assign("key:1", "student", "teacher", 0.0)
    with pytest.raises(ModelInUse):
        here.loading.unload("key:1", "student")


def test_a_replica_that_lacks_the_folder_says_so_once_and_goes_on_looking(
    database: Any, zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    poor = tmp_path / "models"
    folders = Registry.scan([zoo])
    shutil.copytree(folders.find("teacher").path, poor / "teacher")
    here, there = Replica(database, zoo, *model_dirs), Replica(database, poor, *model_dirs)
    here.loading.load("key:1", "student")
    with caplog.at_level(logging.ERROR, "facet"):
        there.loading.follow()
        there.loading.follow()
    (told,) = caplog.messages
    assert told.startswith("the model student@1.0.0 is to be loaded and cannot be: no model 'student@1.0.0'")
    shutil.copytree(folders.find("student").path, poor / "student")
    there.loading.follow()
    assert there.names == {"teacher", "student"}


def add_disturbed(here: Replica, zoo: Path, folder: Path, source: str, name: str, version: str = "1.0.0") -> Path:
    """A model like `source`, with other weights, in a new folder of a replica; gives that folder."""
    found = Registry.scan([zoo]).find(source)
    graph = _disturb(found.model_path, folder.with_suffix(".onnx"), 0.01)
    spec = _spec(found, name, None, TEACHER_ROWS).model_copy(update={"version": version})
    add_model(graph, spec, here.add_folder(folder))
    return folder


def test_of_two_versions_the_newest_has_the_name_whichever_was_loaded_first(
    database: Any, zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path
) -> None:
    here = Replica(database, zoo, *model_dirs)
    add_disturbed(here, zoo, tmp_path / "models", "teacher", "teacher", "1.10.0")
    newer = here.loading.load("key:1", "teacher")
    assert newer.identity == "teacher@1.10.0"
    assert here.models.embedder("teacher").manifest.identity == "teacher@1.10.0"
    assert here.models.embedder("teacher@1.0.0").digest == here.models.default.digest
    assert here.loading.unload("key:1", "teacher") == newer


def test_a_model_in_the_place_of_another_waits_until_that_is_unloaded(
    database: Any, zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path
) -> None:
    here = Replica(database, zoo, *model_dirs)
    old = here.loading.load("key:1", "student")
    add_disturbed(here, zoo, tmp_path / "models", "student", "student")
    with pytest.raises(ModelRefused, match=r"another model is loaded as student@1\.0\.0: unload it first"):
        here.loading.load("key:1", "student")
    assert here.models.embedder("student").digest == old.sha256
    here.loading.unload("key:1", "student")
    new = here.loading.load("key:1", "student")
    assert here.models.embedder("student").digest == new.sha256 != old.sha256


def test_nothing_is_wished_where_what_stands_beside_another_new_model_cannot_be_read(
    database: Any, zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path
) -> None:
    here = Replica(database, zoo, *model_dirs)
    folder = add_disturbed(here, zoo, tmp_path / "models", "teacher", "other")
    (manifest,) = folder.glob(f"*/{MANIFEST}")
    (manifest.parent / PAIRS).write_text("[")
    with pytest.raises(ModelRefused, match=PAIRS):
        here.loading.load("key:1", "student")
    assert here.names == {"teacher"}
    assert database.read(last_wishes) == []


def test_an_enrolment_whose_model_is_unloaded_meanwhile_still_looks_for_duplicates(
    start: Start, portrait: bytes
) -> None:
    client = start("teacher", "stranger")
    enrol(client, "ann", portrait)
    engine = services_of(client).engine
    embedder = engine.embedder("stranger")
    assert change(client, "unload", "stranger")[0] == 200
    point = OperatingPoint(threshold=0.4)
    with pytest.raises(DuplicateSubject):
        engine.enroll("default", "bea", [portrait], embedder, point, Stages(), duplicate=DuplicatePolicy.REJECT)
