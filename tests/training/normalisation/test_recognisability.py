"""The gate learns what is no face, and its cut turns away no kind more than twice the share given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.registry import Registry
from tests.training.conftest import MakeSet
from training.errors import SetInvalid
from training.normalisation.once import Once
from training.normalisation.recognisability import GatePlan, apply, choose_cut, choose_gate, scramble


def test_the_cut_is_the_share_where_kinds_are_alike() -> None:
    rng = np.random.default_rng(0)
    measures = {name: rng.uniform(0, 1, 20_000).astype(np.float32) for name in "abc"}
    assert choose_cut(measures, 0.01) == pytest.approx(0.01, abs=0.002)


def test_the_cut_goes_down_for_all_where_it_is_harsh_on_one_kind() -> None:
    rng = np.random.default_rng(0)
    measures = {name: rng.uniform(0.5, 1, 20_000).astype(np.float32) for name in "abc"}
    measures["children"] = rng.uniform(0.2, 1, 20_000).astype(np.float32)
    cut = choose_cut(measures, 0.01)
    assert np.mean(measures["children"] < cut) == pytest.approx(0.02, abs=0.002)
    assert all(np.mean(measures[name] < cut) == 0 for name in "abc")


def test_every_kind_counts_alike_however_many_pictures_it_has() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.uniform(0, 1, 2_000), rng.uniform(0.5, 1, 50_000)
    cut = choose_cut({"few": few.astype(np.float32), "many": many.astype(np.float32)}, 0.01)
    assert np.mean(few < cut) == pytest.approx(0.02, abs=0.003)


def test_a_fitted_gate_tells_faces_from_what_is_none(
    silent_dirs: tuple[Path, ...], tmp_path: Path, make_set: MakeSet, faces: NDArray[np.uint8]
) -> None:
    model = Registry.scan(silent_dirs).folders("embedder")[0].embedder()
    gate = choose_gate(Once(model), [make_set(tmp_path / "six", each=8)], GatePlan(damaged=40, steps=150, batch=64))
    rng = np.random.default_rng(1)
    good, _ = model.run(faces)
    bad, _ = model.run(np.stack([scramble(face, 0.5, rng) for face in faces]))
    assert apply(gate.layers, good).min() > apply(gate.layers, bad).max()
    assert 0 < gate.cut < 1
    assert set(gate.refused) == {"six: six"}


def test_a_graph_that_tells_its_confidence_gains_the_cut_only(
    model_dirs: tuple[Path, ...], tmp_path: Path, make_set: MakeSet
) -> None:
    model = Registry.scan(model_dirs).embedder("facet-s")
    gate = choose_gate(Once(model), [make_set(tmp_path / "six", each=4)], GatePlan())
    assert gate.layers == ()
    assert 0 < gate.cut < 1


def test_a_kind_of_one_picture_has_no_part_in_the_cut(
    model_dirs: tuple[Path, ...], tmp_path: Path, make_set: MakeSet
) -> None:
    once = Once(Registry.scan(model_dirs).embedder("facet-s"))
    six, one = make_set(tmp_path / "six", each=4), make_set(tmp_path / "one", each=1, people=1)
    assert choose_gate(once, [six, one], GatePlan()) == choose_gate(once, [six], GatePlan())
    with pytest.raises(SetInvalid, match="two good pictures"):
        choose_gate(once, [one], GatePlan())
