"""Thresholds meet scores in one place."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import service
from service.decision import OperatingPoint, Outcome, decide, decide_open_set, expected_fpir, threshold_for
from service.face.errors import ThresholdUnsupported
from service.face.score import Threshold, ThresholdTable, corrected_fmr
from service.measures.matching import matches
from tests.rollout.conftest import TEACHER_ROWS

ROOT = Path(service.__file__).parent
TABLE = ThresholdTable(TEACHER_ROWS)
ORDERS = (ast.Gt, ast.GtE, ast.Lt, ast.LtE)
ELSEWHERE = ("face", "measures", "bench", "index", "rollout/offline")
"""The tables of thresholds themselves, the one place, measurements of models, and rankings of scores."""


@dataclass(frozen=True)
class Scored:
    score: float


def names(node: ast.AST) -> set[str]:
    return {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)} | {
        each.id for each in ast.walk(node) if isinstance(each, ast.Name)
    }


def test_no_other_module_compares_a_score_with_a_threshold() -> None:
    found = []
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(ELSEWHERE):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(op, ORDERS) for op in node.ops):
                named = " ".join(names(node))
                if "score" in named or "threshold" in named:
                    found.append(f"{place}:{node.lineno}")
    assert found == []


def test_a_score_at_the_threshold_matches() -> None:
    threshold = Threshold(0.4, None, "given")
    assert decide(0.4, threshold) == Outcome.MATCH
    assert decide(np.nextafter(0.4, 0), threshold) == Outcome.NO_MATCH
    assert matches(np.array([0.25, 0.5, 0.75], np.float32), 0.5).tolist() == [False, True, True]


def test_two_subjects_too_close_to_tell_are_ambiguous() -> None:
    threshold = Threshold(0.4, None, "given")

    def outcome(*scores: float) -> Outcome:
        return decide_open_set([Scored(score) for score in scores], threshold, 0.1)[0]

    assert outcome(0.5, 0.45) == Outcome.AMBIGUOUS
    assert outcome(0.5, 0.39) == Outcome.MATCH
    assert outcome(0.9, 0.5) == Outcome.MATCH
    assert outcome(0.3, 0.1) == Outcome.NO_MATCH
    assert outcome() == Outcome.NO_MATCH


def test_the_operating_point_is_a_rate_or_a_score() -> None:
    assert threshold_for(OperatingPoint(), TABLE, 1e-3).value == 0.4
    assert threshold_for(OperatingPoint(fmr=1e-2), TABLE, 1e-3).value == 0.3
    assert threshold_for(OperatingPoint(threshold=0.33), TABLE, 1e-3).value == 0.33
    with pytest.raises(ThresholdUnsupported):
        threshold_for(OperatingPoint(1e-2, 0.33), TABLE, 1e-3)


def test_what_a_search_promises_is_what_it_was_set_to() -> None:
    for comparisons in (1, 10, 1000):
        threshold = Threshold(0.5, corrected_fmr(0.01, comparisons), "measured")
        assert expected_fpir(threshold, comparisons) == pytest.approx(0.01)
    assert expected_fpir(Threshold(0.5, None, "given"), 10) is None
