"""Findings of synthetic templates, of which the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.face.embedding.embed import Templates
from service.face.errors import ThresholdUnsupported
from service.face.manifest import CalibratedThreshold
from service.face.score import ThresholdTable
from service.report.collect import Acquired
from service.report.comparisons import compare
from service.report.figures import draw_all
from service.report.findings import Findings, Subject
from service.report.measure import Plan, curve_rates, measure
from service.report.render import render
from service.report.study import Study
from service.rollout.offline.photographs import Pair

PEOPLE, EACH = 120, 3
TABLE = ThresholdTable(
    [
        CalibratedThreshold(fmr=fmr, threshold=score, impostor_trials=10**9, ci95=(fmr / 2, fmr * 2))
        for fmr, score in ((1e-1, 0.1), (1e-2, 0.19), (1e-3, 0.26), (1e-4, 0.32))
    ]
)
SUBJECT = Subject(
    "photographs", "here", "0" * 64, "m@1.0.0", "1" * 64, "1" * 64, "cosine", None, None, {}, "0", "-", 0, 40, "-"
)


def crowd(offset: float = 0.0) -> tuple[Study, Acquired]:
    """People of two kinds, the second of whom resemble one another; one photograph in three of each is a poor one."""
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(PEOPLE), EACH)
    alike = person % 2 == 1
    base = rng.normal(size=(PEOPLE, 128))[person] + 0.3 * alike[:, None] * rng.normal(size=128)
    poor = np.tile([False, False, True], PEOPLE)
    vectors = base + np.where(poor, 5.0, 0.4)[:, None] * rng.normal(size=base.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = tuple(f"{name}/{number}.jpg" for number, name in enumerate(person))
    kinds = tuple("alike" if each else "different" for each in alike)
    study = Study(
        Path("here"), tuple(map(Path, ids)), ids, tuple(f"{each}" for each in person), True, None, {"kind": kinds}
    )
    quality = 1.0 - poor + 0.01 * rng.random(len(poor))
    offsets = np.full(len(ids), offset, np.float32)
    templates = Templates(vectors.astype(np.float32), offsets, quality.astype(np.float32))
    rows = np.arange(len(ids))
    return study, Acquired(
        rows, templates, {"recognisability": quality, "noise": rng.random(len(ids))}, {}, {}, "", 0, 0
    )


def found(study: Study, acquired: Acquired, **plan: object) -> Findings:
    chosen = Plan((1e-2,), (0.1,), rounds=40, **plan)  # type: ignore[arg-type]
    return measure(study, acquired, TABLE, 0.5, SUBJECT, chosen, lambda what, done, total: None)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return found(*crowd())


def test_rates_are_those_of_all_comparisons(findings: Findings) -> None:
    study, acquired = crowd()
    scores = acquired.templates.vectors @ acquired.templates.vectors.T
    person = np.array(study.persons)
    upper = np.triu(np.ones(scores.shape, bool), 1)
    same = person[:, None] == person[None, :]
    for served in findings.served:
        assert served.fmr is not None
        assert served.fnmr is not None
        assert served.fmr.value == pytest.approx((scores[upper & ~same] >= served.threshold).mean())
        assert served.fnmr.value == pytest.approx((scores[upper & same] < served.threshold).mean())
    assert [each.asked for each in findings.served] == [1e-2, 1e-3, 1e-4], "what anybody asks for"


def test_the_offsets_of_templates_are_in_the_scores() -> None:
    plain, lowered = (found(*crowd(offset)) for offset in (0.0, -0.05))
    assert lowered.highest_impostors[0].score == pytest.approx(plain.highest_impostors[0].score - 0.1, abs=1e-6)
    assert lowered.lowest_genuine[0].score == pytest.approx(plain.lowest_genuine[0].score - 0.1, abs=1e-6)
    before, after = plain.served[0].fmr, lowered.served[0].fmr
    assert before is not None
    assert after is not None
    assert after.value < before.value


def test_the_kind_that_is_alike_stands_out(findings: Findings) -> None:
    (groups,) = findings.groups
    assert [each.name for each in groups.groups] == ["alike", "different"]
    assert [each.people for each in groups.groups] == [60, 60]
    assert groups.fmr_inequality is not None
    assert groups.fmr_inequality.worst == "alike"
    assert groups.fmr_inequality.over_geometric_mean > 1.5
    assert groups.fmr_ratio_ci95 is not None
    assert groups.fmr_ratio_ci95[0] <= groups.fmr_inequality.over_geometric_mean <= groups.fmr_ratio_ci95[1]
    rates = {each.name: each.fmr.value for each in groups.groups if each.fmr is not None}
    between = groups.across["alike"]["different"]
    assert between is not None
    assert between < rates["alike"]
    everywhere = [each for each in findings.advice if each.among == "all"]
    worst = [each for each in findings.advice if each.among == "kind: alike"]
    assert everywhere[0].fmr is not None
    assert worst[0].fmr is None or worst[0].fmr < everywhere[0].fmr


def test_only_a_measure_that_knows_the_poor_photographs_gains(findings: Findings) -> None:
    known, noise = findings.discard
    assert (known.measure, known.served_cut, noise.measure, noise.served_cut) == ("recognisability", 0.5, "noise", None)
    first, third = (next(p for p in known.points if p.share >= share) for share in (0.0, 0.3))
    assert first.rate is not None
    assert third.rate is not None
    assert first.rate > 0.2
    assert third.rate < first.rate / 2
    assert noise.points[-1].rate == pytest.approx(noise.points[0].rate, abs=0.15)


def test_galleries_and_the_worst_pairs(findings: Findings) -> None:
    (identification,) = findings.identification
    assert [each.size for each in identification.galleries] == [10, 20, 50, 60]
    rank_one = [each.rank_one_miss.value for each in identification.galleries if each.rank_one_miss is not None]
    assert rank_one[0] < rank_one[-1]
    assert [each.threshold for each in identification.galleries] == [
        TABLE.for_gallery(0.1, size).value for size in (10, 20, 50, 60)
    ]
    assert len(findings.highest_impostors) == len(findings.lowest_genuine) == 20
    assert all(a.first.split("/")[0] != a.second.split("/")[0] for a in findings.highest_impostors)
    assert all(a.first.split("/")[0] == a.second.split("/")[0] for a in findings.lowest_genuine)


def test_the_page_shows_every_part(findings: Findings) -> None:
    figures = draw_all(findings)
    assert {name: len(each) for name, each in figures.items()} == {
        "det": 1, "groups": 1, "discard": 1, "identification": 1,
    }  # fmt: skip
    page = render(findings, figures)
    assert page.count("<svg ") == 4
    assert "var(--series-1)" in page
    assert "#0404" not in page, "no colour is left that stands for another"


def test_a_large_folder_is_thinned_by_people() -> None:
    study, acquired = crowd()
    thinned = compare(study, acquired, 100, seed=0)
    assert 90 < len(thinned.person) <= 100
    assert set(np.bincount(thinned.person)) == {EACH}, "whole people"
    assert thinned.place.tolist() != compare(study, acquired, 100, seed=1).place.tolist()
    findings = found(study, acquired, most=100)
    assert any("260 photographs were not compared" in line or "261 photographs" in line for line in findings.limits)


def test_a_protocol_compares_its_pairs_alone() -> None:
    study, acquired = crowd()
    pairs = (Pair(0, 1, True), Pair(0, 3, False), Pair(4, 8, False), Pair(6, 8, True))
    listed = Study(study.source, study.files, study.ids, study.persons, True, pairs, study.groups)
    findings = found(listed, acquired)
    assert (findings.counts["genuine comparisons"], findings.counts["impostor comparisons"]) == (2, 2)
    vectors = acquired.templates.vectors
    assert [(a.first, a.second) for a in findings.lowest_genuine] == [
        (study.ids[a], study.ids[b])
        for a, b in sorted([(0, 1), (6, 8)], key=lambda p: float(vectors[p[0]] @ vectors[p[1]]))
    ]
    kinds = {each.name: each.fnmr for each in findings.groups[0].groups}
    assert kinds["alike"] is None, "neither pair is of two of them"
    assert kinds["different"] is not None
    assert kinds["different"].trials == 2


def test_a_rate_outside_the_calibration_is_refused() -> None:
    study, acquired = crowd()
    with pytest.raises(ThresholdUnsupported):
        measure(study, acquired, TABLE, None, SUBJECT, Plan((1e-6,)), lambda what, done, total: None)


@pytest.mark.parametrize(("impostors", "most", "least"), [(10, 1.0, 0.3), (1000, 0.1, 3e-3), (10**7, 0.1, 3e-7)])
def test_the_curve_ends_where_three_false_matches_are_the_rate(impostors: int, most: float, least: float) -> None:
    rates = curve_rates(impostors)
    assert rates[0] <= most
    assert least <= rates[-1] < least * 10 ** (1 / 8) * 1.01
    assert curve_rates(2) == []
