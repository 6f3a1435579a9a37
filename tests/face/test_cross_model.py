"""Thresholds of a pair of models are held to the same order as a model's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.face.cross_model import PAIRS, read_pairs
from service.face.errors import ModelInvalid

ROWS = [
    {"fmr": fmr, "threshold": threshold, "impostor_trials": 10_000_000, "ci95": [fmr / 2, fmr * 2]}
    for fmr, threshold in ((1e-2, 0.2), (1e-3, 0.3), (1e-4, 0.4))
]
TAIL = [{"fmr": 1e-6, "threshold": 0.5, "ci95": [1e-7, 1e-5]}]


def write(folder: Path, thresholds: list[dict[str, object]], tail: list[dict[str, object]]) -> None:
    pair = {"reference": "ab" * 32, "thresholds": thresholds, "tail": tail}
    (folder / PAIRS).write_text(json.dumps([pair]))


def test_thresholds_of_a_pair_in_any_other_order_are_refused(tmp_path: Path) -> None:
    """Between rows in disorder, a strict rate would get a lax threshold."""
    write(tmp_path, ROWS, TAIL)
    assert read_pairs(tmp_path)["ab" * 32].at(1e-4).value == 0.4
    for thresholds, tail in ((ROWS[::-1], []), (ROWS[:2], [TAIL[0] | {"threshold": 0.1}]), ([], TAIL)):
        write(tmp_path, thresholds, tail)
        with pytest.raises(ModelInvalid, match="tail"):
            read_pairs(tmp_path)
