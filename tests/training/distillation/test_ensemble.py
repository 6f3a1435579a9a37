"""Two real small networks joined into one graph, compared with what each gives alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.face.manifest import InputSpec, Licence, OutputSpec, Provenance
from service.face.model_import import ModelSpec, add_model
from service.face.registry import Registry
from training.backbones.network import StudentSpec, build_student, example
from training.data.crops import open_set
from training.distillation.ensemble import fit_projection, make_ensemble
from training.engine.task import Exported
from training.errors import SetInvalid, TeacherMismatch
from training.export.graphs import write_fp32
from training.recipe import Roots

MEMBERS = {
    "wide": {"width": 32, "height": 32, "colour": "BGR", "region": (8, 0, 104, 112), "dim": 24, "use": True},
    "whole": {"width": 112, "height": 112, "colour": "RGB", "region": (0, 0, 112, 112), "dim": 16, "use": None},
}


def add_member(folder: Path, models: Path, name: str, *, resample: str = "linear") -> None:
    values = dict(MEMBERS[name])
    dim, use = values.pop("dim"), values.pop("use")
    pixels = InputSpec.model_validate(
        values
        | {"mean": (127.5,) * 3, "scale": (1 / 64,) * 3, "layout": "NCHW", "template": "arcface-112"}
        | {"resample": resample}
    )
    torch.manual_seed(dim)
    options = {"input_size": pixels.width, "depths": [1, 1, 1, 1], "width": 0.125, "dim": dim}
    student = build_student(StudentSpec(kind="iresnet", **options), pixels)
    path = folder / f"{name}.onnx"
    write_fp32(Exported(student.eval(), example(pixels), ("embedding",)), path)
    spec = ModelSpec(
        name=name,
        version="1.0.0",
        task="embedder",
        about="A small network of random weights.",
        url=None,
        sha256=None,
        space=None,
        input=pixels,
        output=OutputSpec(dim=dim, normalised=False),
        licence=Licence(id="MIT", url=None, commercial_use=use, note=""),
        provenance=Provenance(teachers=(), recipe=None, data=(f"data of {name}",), made_by="a test"),
        parameters=100,
        multiply_adds=None,
        results=(),
        thresholds=(),
    )
    add_model(path, spec, models)


@pytest.fixture
def members(roots: Roots, tmp_path: Path) -> Registry:
    for name in MEMBERS:
        add_member(tmp_path, roots.models, name)
    return Registry.scan([roots.models])


def test_an_inner_product_is_the_weighted_mean_of_the_members_cosines(
    members: Registry, roots: Roots, faces: NDArray[np.uint8]
) -> None:
    made = make_ensemble("pair", {"wide": 3, "whole": 1}, members, roots.models)
    joint = Registry.scan([roots.models]).embedder("pair")
    assert (joint.dim, made.kept) == (40, 1.0)
    vectors = joint.embed(faces)
    cosines = {name: (v := members.embedder(name).embed(faces)) @ v.T for name in MEMBERS}
    np.testing.assert_allclose(vectors @ vectors.T, 0.75 * cosines["wide"] + 0.25 * cosines["whole"], atol=5e-3)


def test_it_says_of_whom_it_is_made_and_on_which_terms(members: Registry, roots: Roots) -> None:
    manifest = make_ensemble("pair", {"wide": 1, "whole": 1}, members, roots.models).folder.manifest
    assert manifest.provenance.teachers == tuple(members.find(name).manifest.sha256 for name in MEMBERS)
    assert manifest.provenance.data == ("data of whole", "data of wide")
    assert manifest.licence.id == "MIT"
    assert manifest.licence.commercial_use is None  # one of them does not say
    assert "wide@1.0.0" in manifest.licence.note
    assert manifest.cost.parameters == 200
    other = make_ensemble("other", {"wide": 2, "whole": 1}, members, roots.models).folder.manifest
    again = make_ensemble("again", {"wide": 3, "whole": 3}, members, roots.models).folder.manifest
    assert other.space != manifest.space == again.space, "weights make the space, not the name"


def test_a_projection_keeps_the_inner_products_of_faces(members: Registry, roots: Roots) -> None:
    crops = open_set(roots.data / "six")
    made = make_ensemble("pair", {"wide": 1, "whole": 1}, members, roots.models, dim=12, sets=[crops])
    make_ensemble("long", {"wide": 1, "whole": 1}, members, roots.models)
    registry = Registry.scan([roots.models])
    short, whole = registry.embedder("pair"), registry.embedder("long")
    assert short.dim == 12
    assert made.kept > 0.95
    a, b = short.embed(crops.crops[:12]), whole.embed(crops.crops[:12])
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=0.12)
    assert any("six" in line for line in made.folder.manifest.provenance.data)


def test_a_projection_is_the_best_of_its_size() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8))).astype(np.float32)
    projection, kept = fit_projection(vectors, 3)
    assert kept == pytest.approx(1.0)
    np.testing.assert_allclose(vectors @ projection @ projection.T, vectors, atol=5e-3)  # half precision


def test_what_cannot_be_joined_is_refused(members: Registry, roots: Roots, tmp_path: Path) -> None:
    with pytest.raises(TeacherMismatch, match="two members"):
        make_ensemble("pair", {"wide": 1}, members, roots.models)
    with pytest.raises(TeacherMismatch, match="40 values"):
        make_ensemble("pair", {"wide": 1, "whole": 1}, members, roots.models, dim=64)
    with pytest.raises(SetInvalid, match="training crops"):
        make_ensemble("pair", {"wide": 1, "whole": 1}, members, roots.models, dim=12)
    other = tmp_path / "other"
    add_member(tmp_path, other, "wide", resample="area")
    add_member(tmp_path, other, "whole")
    with pytest.raises(TeacherMismatch, match="linearly"):
        make_ensemble("pair", {"wide": 1, "whole": 1}, Registry.scan([other]), roots.models)
