"""`export.json` says what was measured of a graph, and nothing else can be read out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.face.manifest import load_manifest
from service.face.registry import Registry
from tests.conftest import STARTER
from training.errors import PublishRefused
from training.export.bundle import HERE
from training.export.publish import write_card
from training.export.record import DetectorExport, DetectorGraph, EmbedderExport, read_export, write_export
from training.export.release import read_publication

GRAPH = {"form": "fp32", "file": "fp32.onnx", "sha256": "0" * 64, "bytes": 378_239, "milliseconds": 9.88}
DETECTOR = DetectorExport(parameters=86_704, forms=(DetectorGraph(**GRAPH, teacher_ratio=0.86),))  # type: ignore[arg-type]


def test_a_detector_cannot_claim_a_cosine() -> None:
    with pytest.raises(ValidationError, match="cosine_mean"):
        DetectorGraph(**GRAPH, teacher_ratio=0.86, cosine_mean=1.0)  # type: ignore[arg-type, call-arg]


def test_each_kind_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_export(tmp_path, DETECTOR)
    assert read_export(tmp_path) == DETECTOR


def test_an_embedders_export_of_before_the_kinds_is_read(tmp_path: Path) -> None:
    graph = GRAPH | {"cosine_mean": 0.99, "cosine_min": 0.98, "speedup": 1.0, "verdict": "reference"}
    before = {"dim": 256, "parameters": 5, "multiply_adds": 7, "probes": 200, "forms": [graph]}
    (tmp_path / "export.json").write_text(json.dumps(before))
    export = read_export(tmp_path)
    assert isinstance(export, EmbedderExport)
    assert (export.kind, export.dim, export.forms[0].cosine_mean) == ("embedder", 256, 0.99)


def test_a_detectors_export_with_an_embedders_numbers_is_refused(tmp_path: Path) -> None:
    graph = GRAPH | {"cosine_mean": 1.0, "cosine_min": 1.0, "speedup": 1.0, "verdict": "0.86 times the teacher's"}
    (tmp_path / "export.json").write_text(
        json.dumps({"dim": None, "parameters": 5, "multiply_adds": None, "forms": [graph]})
    )
    with pytest.raises(PublishRefused, match="facet-train export"):
        read_export(tmp_path)


def test_the_bundled_detectors_card_says_what_was_measured() -> None:
    """The card beside the graph is the template's, line by line, where it speaks of the graph and its limits."""
    folder = next(STARTER.glob("facet-detector-*"))
    what = read_publication(HERE / "releases" / "detector.json")
    written = write_card(load_manifest(folder / "manifest.json"), what, DETECTOR.forms[0], (), None)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "cosine" not in card
    cost = written[written.index("- Cost:") : written.index("- Space:")]
    assert cost in card
    assert what.limits in card


@pytest.mark.parametrize("name", ["detector", "facet-s", "facet-m"])
def test_a_model_that_saw_people_of_lfw_says_so(name: str) -> None:
    what = read_publication(HERE / "releases" / f"{name}.json")
    folder = Registry.scan([STARTER]).find(what.name)
    card, data = folder.card(), " ".join(folder.manifest.provenance.data)
    assert ("held people of LFW" in card) == (name == "detector" or "glint24" in data)
    if folder.manifest.version == what.version:  # else the release is one that is still to come
        assert what.limits in card
