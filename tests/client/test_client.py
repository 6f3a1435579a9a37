"""The client, sync and async, against a real service."""

from __future__ import annotations

import asyncio
import inspect
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from facet_client import AsyncFacet, Facet, Problem, Unreachable, errors
from facet_client.exchange import headers_of

from service.bench.server import free_port
from tests.api.server import Server


def test_two_photographs_are_verified(facet: Facet, ann: bytes, ann_later: bytes, gwen: bytes) -> None:
    same = facet.verify(ann, ann_later, fmr=0.001)
    assert same.matched
    assert same.score >= same.threshold
    assert (same.fmr, same.fmr_basis) == (0.001, "measured")
    assert same.reference is not None
    assert same.probe.quality.reasons == ()
    assert len(same.probe.landmarks) == 5
    assert facet.verify(ann, gwen).decision == "no_match"
    assert facet.verify(ann, gwen, threshold=-1.0).matched


def test_photographs_are_paths_bytes_and_files(facet: Facet, tmp_path: Path, ann: bytes) -> None:
    path = tmp_path / "ann.jpg"
    path.write_bytes(ann)
    with path.open("rb") as file:
        of_file = facet.verify(file, io.BytesIO(ann))
    assert facet.verify(str(path), path).score == of_file.score == facet.verify(ann, ann).score


def test_people_are_enrolled_found_and_erased(facet: Facet, people: str, ann: bytes, ann_later: bytes) -> None:
    made = facet.enroll("Ånn", [ann, ann_later], collection=people, metadata={"badge": 7, "left": None})
    assert made.created
    assert [image.problem for image in made.images] == [None, None]
    assert (made.subject.name, made.subject.metadata, made.subject.faces) == ("Ånn", {"badge": 7, "left": None}, 2)
    assert facet.verify(ann_later, subject="Ånn", collection=people).pictures == 2
    who = facet.identify(ann, collection=people, top_k=1, faces="all")
    assert [(face.decision, face.candidates[0].subject) for face in who.faces] == [("match", "Ånn")]
    kept = list(facet.faces("Ånn", collection=people))
    assert {face.id for face in kept} == {image.face_id for image in made.images}
    assert facet.face(kept[0].id, collection=people) == kept[0]
    assert facet.delete_face(kept[0].id, collection=people).faces == 1
    assert facet.update_subject("Ånn", name="Ann", metadata={}, collection=people).metadata == {}
    assert facet.subject("Ann", collection=people).faces == 1
    receipt = facet.delete_subject("Ann", collection=people)
    assert receipt in list(facet.receipts())
    assert list(facet.subjects(collection=people)) == []


def test_crops_are_fetched_where_they_are_kept(facet: Facet, ann: bytes, people: str) -> None:
    kept = facet.create_collection(f"{people}-crops", keep_crops=True)
    assert kept.keep_crops
    (image,) = facet.enroll("ann", ann, collection=kept.name).images
    assert image.face_id is not None
    assert facet.crop(image.face_id, collection=kept.name).startswith(b"\x89PNG")
    assert facet.collection(kept.name) in list(facet.collections())
    assert facet.delete_collection(kept.name).faces == 1


def test_people_are_merged_faces_moved_and_dates_set(
    facet: Facet, people: str, ann: bytes, ann_later: bytes, gwen: bytes
) -> None:
    facet.enroll("ann", ann, collection=people)
    facet.enroll("anna", [ann_later], collection=people)
    (stray,) = facet.enroll("gwen", gwen, collection=people).images
    merged = facet.merge_subjects("ann", "anna", collection=people)
    assert (merged.subject.name, merged.subject.faces, merged.faces) == ("ann", 2, 1)
    assert stray.face_id is not None
    assert facet.move_face(stray.face_id, "Gwen H", collection=people).subject == "Gwen H"
    changed = facet.update_collection(people, keep_crops=True, quality="report")
    assert (changed.keep_crops, changed.quality, changed.faces) == (True, "report", 3)
    later = datetime(2100, 1, 1, tzinfo=UTC)
    assert facet.update_subject("ann", expires_at=later, collection=people).expires_at == later
    assert facet.update_subject("ann", metadata={"badge": 7}, collection=people).expires_at == later
    assert facet.update_subject("ann", expires_at=None, collection=people).expires_at is None
    assert facet.enroll("visitor", gwen, expires_at=later, collection=people).subject.expires_at == later
    beside = facet.verify(ann, ann_later, reference_faces="single", reference_quality="enforce")
    assert beside.matched


def test_lists_go_on_over_pages(facet: Facet, people: str, ann: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facet_client.calls.PAGE", 1)
    for name in ("a-1", "a-2", "b-1", "a-3"):
        facet.enroll(name, ann, collection=people)
    assert [each.name for each in facet.subjects(collection=people)] == ["a-1", "a-2", "b-1", "a-3"]
    assert [each.name for each in facet.subjects(collection=people, prefix="a")] == ["a-1", "a-2", "a-3"]


def test_faces_are_detected_and_embedded(facet: Facet, both: bytes, ann: bytes) -> None:
    seen = facet.detect(both)
    assert (seen.faces_total, len(seen.faces), seen.truncated) == (2, 2, False)
    (face,) = facet.embed(ann, model="facet-s").faces
    assert sum(value * value for value in face.embedding) == pytest.approx(1, abs=1e-3)


def test_the_service_tells_of_itself(facet: Facet) -> None:
    assert (facet.alive().status, facet.ready().status) == ("alive", "ready")
    (default,) = [model for model in facet.models() if model.default]
    assert default.loaded
    assert facet.model(default.name) == default
    assert facet.card(default.name).startswith("#")
    assert "admin" in facet.key().scopes


def test_refusals_are_typed_and_name_their_request(
    facet: Facet, shared_server: Server, people: str, both: bytes, ann: bytes
) -> None:
    with pytest.raises(errors.SubjectNotFound) as unknown:
        facet.verify(ann, subject="nobody", collection=people)
    assert unknown.value.code in str(unknown.value)
    with pytest.raises(errors.CollectionNotFound):
        facet.identify(ann, collection="nonesuch")
    with pytest.raises(errors.ModelNotFound):
        facet.verify(ann, ann, model="nonesuch")
    with pytest.raises(errors.SeveralFaces) as several:
        facet.verify(ann, both, faces="single")
    assert several.value.image == "reference"
    with pytest.raises(errors.ImageRefused) as damaged:
        facet.detect(ann[:2000])
    assert damaged.value.status == 422
    with pytest.raises(errors.ThresholdUnsupported) as rate:
        facet.verify(ann, ann, fmr=1e-12)
    assert 0.001 in rate.value.supported_fmr
    with pytest.raises(errors.EnrolmentRefused) as refused:
        facet.enroll("ann", [both, b"no image"], collection=people)
    assert [image["code"] for image in refused.value.images] == ["several_faces", "image_unsupported"]
    facet.enroll("ann", ann, collection=people)
    with pytest.raises(errors.DuplicateSubject) as duplicate:
        facet.enroll("anna", ann, collection=people, duplicate="reject")
    assert duplicate.value.duplicates[0]["subject"] == "ann"
    with pytest.raises(errors.RequestInvalid) as invalid:
        facet.verify(ann, ann, fmr=0.001, threshold=0.4)
    assert "not both" in invalid.value.errors[0]["message"]
    with pytest.raises(errors.Conflict):
        facet.create_collection(people)
    assert unknown.value.request_id in shared_server.printed, "its line was logged before later requests were answered"


def test_a_key_that_is_not_valid_is_told_apart_from_one_that_may_not(shared_server: Server) -> None:
    with Facet(shared_server.address) as nobody, pytest.raises(errors.Unauthorised) as refused:
        nobody.key()
    assert refused.value.code == "key_required"
    with Facet(shared_server.address, "facet_0123456789_x") as wrong, pytest.raises(errors.Unauthorised):
        wrong.key()


@pytest.mark.parametrize(
    ("key", "headers"),
    [("facet_1_x\n", {"Authorization": "Bearer facet_1_x"}), (" \n", {}), ("", {}), (None, {})],
)
def test_a_key_is_taken_without_the_space_around_it(key: str | None, headers: dict[str, str]) -> None:
    assert headers_of(key) == headers


@pytest.mark.parametrize("key", ["facet_1_x\nfacet_2_y", "facet_1_\u00e4"])
def test_a_key_that_is_none_is_told_at_once_and_not_shown(key: str) -> None:
    for kind in (Facet, AsyncFacet):
        with pytest.raises(ValueError, match="the key holds characters that no key has") as refused:
            kind("http://127.0.0.1:8000", key)
        assert "facet_1" not in str(refused.value)


def test_nobody_listens() -> None:
    pauses: list[float] = []
    with Facet(f"http://127.0.0.1:{free_port()}", sleep=pauses.append) as away, pytest.raises(Unreachable):
        away.alive()
    assert len(pauses) == 4


@pytest.mark.parametrize(
    "address", ["localhost:8000", "127.0.0.1", "ftp://host", "http://", "", "http://[::1", "http://host:port"]
)
def test_an_address_that_is_none_is_told_at_once(address: str) -> None:
    for kind in (Facet, AsyncFacet):
        with pytest.raises(ValueError, match=r"the address is like http://127\.0\.0\.1:8000"):
            kind(address)


def test_a_path_after_the_address_is_kept(shared_server: Server) -> None:
    with Facet(f"{shared_server.address}/faces/", shared_server.key) as facet, pytest.raises(errors.NotFound) as away:
        facet.key()
    assert away.value.code == "route_not_found"


def test_every_call_is_awaited_too(
    shared_server: Server, people: str, ann: bytes, ann_later: bytes, both: bytes
) -> None:
    async def ask() -> None:
        async with AsyncFacet(shared_server.address, shared_server.key, timeout=120) as facet:
            await facet.enroll("ann", ann, collection=people)
            decisions = await asyncio.gather(
                facet.verify(ann_later, subject="ann", collection=people), facet.verify(ann, ann_later)
            )
            assert all(each.matched for each in decisions)
            assert [each.name async for each in facet.subjects(collection=people)] == ["ann"]
            with pytest.raises(errors.SeveralFaces):
                await facet.verify(both, ann, faces="single")

    asyncio.run(ask())


def test_both_clients_offer_the_same_calls() -> None:
    def offered(client: type) -> dict[str, str]:
        members = inspect.getmembers(client, inspect.isfunction)
        return {name: str(inspect.signature(each)) for name, each in members if not name.startswith("_")}

    own = {"send", "walk", "close"}
    one, other = offered(Facet), offered(AsyncFacet)
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] != other[name]} <= own
    assert "probe" in one["verify"]
    assert Facet.verify.__doc__ == AsyncFacet.verify.__doc__


def test_every_error_can_be_caught_as_one() -> None:
    assert issubclass(Problem, errors.FacetError)
    assert issubclass(Unreachable, errors.FacetError)
