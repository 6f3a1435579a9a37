"""From measures to what is written down: values, spreads, intervals, and what became of every claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.papers.budget import Budget
from training.papers.learning import late_share
from training.papers.measures.ensemble import Ensemble
from training.papers.rows import CLAIMS, ROWS, TEACHER, Claim
from training.papers.run import RowRun

LOWER_IS_BETTER = frozenset({"nme", "failures", "lfw fmr", "lfw fnmr"})
ACCURACY = "lfw accuracy"
DIGITS = 5


def assemble(
    budget: Budget,
    data: Mapping[str, Any],
    row_runs: Sequence[RowRun],
    milliseconds: Mapping[str, float],
    early: Mapping[str, Any] | None = None,
    ensemble: Ensemble | None = None,
) -> dict[str, Any]:
    """The results as plain JSON. `data` describes what was trained and measured on; `milliseconds` are per net.

    `ensemble` is what MobileID's row is compared with, timed under the names of its graphs. `early` are results of a
    shorter budget: a row that is not at its end shows those, and is marked as such.
    """
    rows, rounds = [], {}
    for number, row in enumerate(ROWS):
        mine = [s for s in row_runs if s.row == row and s.measures is not None]
        reason = next((s.reason for s in row_runs if s.row == row and s.reason), "")
        entry: dict[str, Any] = asdict(row) | {"reason": reason, "seeds": 0, "end": False}
        if mine:
            entry |= {
                "reason": "",
                "seeds": len(mine),
                "end": True,
                "parameters": mine[0].parameters,
                "multiply_adds": mine[0].multiply_adds,
                "milliseconds": round(milliseconds[mine[0].net], 3),
            }
            # seeds that were kept from before a measure was taken lack it, and then it is not told
            shared = [name for name in mine[0].measures or () if all(name in (s.measures or ()) for s in mine)]
            stacked = {name: np.stack([s.measures[name] for s in mine if s.measures]) for name in shared}
            rounds[row.recipe] = {name: resample(values, number) for name, values in stacked.items()}
            entry["measures"] = {
                name: _number(values[:, 0], rounds[row.recipe][name]) for name, values in stacked.items()
            }
            entry["late"] = _late(mine)
            entry["gap"] = _gap(rounds.get(TEACHER), rounds[row.recipe]) if row.recipe != TEACHER else None
        rows.append(entry | (_early_row(early, row.recipe, reason) if early is not None and not mine else {}))
    claims = [_judge(claim, rounds) | {"end": True} for claim in CLAIMS]
    if early is not None:
        claims = [claim if claim["gains"] else _early_claim(early, claim, rows) for claim in claims]
    results: dict[str, Any] = {"budget": asdict(budget), "data": dict(data), "rows": rows, "claims": claims}
    results["ensemble"] = _describe(ensemble, milliseconds) if ensemble is not None else None
    return results | ({"early": {"budget": early["budget"], "data": early["data"]}} if early is not None else {})


def _early_row(early: Mapping[str, Any], recipe: str, reason: str) -> dict[str, Any]:
    """What a row showed before it was at its end, if it was run, and why it is not there (`waits`)."""
    row = next((row for row in early["rows"] if row["recipe"] == recipe and not row["reason"]), None)
    return {**row, "reason": "", "waits": reason, "end": False} if row else {}


def _early_claim(
    early: Mapping[str, Any], claim: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What two rows said of a claim before either was at its end; nothing where one is, and the other is not."""
    ended = {row["recipe"] for row in rows if row["end"]}
    pair = (claim["row"], claim["against"])
    before = next((each for each in early["claims"] if (each["row"], each["against"]) == pair), None)
    gains = before["gains"] if before is not None and not ended & set(pair) else {}
    return {**claim, "gains": gains, "end": False}


def resample(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The mean over seeds in every round, of values (seeds, 1 + R): the people of that round, and seeds drawn anew.

    The first entry is the plain mean over all seeds.
    """
    count, length = values.shape
    drawn = np.random.default_rng(seed).integers(0, count, (length, count))
    drawn[0] = np.arange(count)
    return np.asarray(values[drawn, np.arange(length)[:, None]].mean(axis=1))


def interval(rounds: NDArray[np.float64]) -> list[float]:
    """The 95 % interval of a bootstrap, its first entry left out."""
    low, high = np.nanquantile(rounds[1:], [0.025, 0.975])
    return [round(float(low), DIGITS), round(float(high), DIGITS)]


def _number(seeds: NDArray[np.float64], rounds: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "value": round(float(rounds[0]), DIGITS),
        "ci95": interval(rounds),
        "spread": round(float(seeds.std(ddof=1)), DIGITS) if len(seeds) > 1 else None,
        "by_seed": [round(float(v), DIGITS) for v in seeds],
    }


def _gap(teacher: Mapping[str, NDArray[np.float64]] | None, mine: Mapping[str, NDArray[np.float64]]) -> Any:
    """How far a row's accuracy is from the teacher's, round by round; None where one of them has none."""
    if teacher is None or ACCURACY not in mine:
        return None
    gap = mine[ACCURACY] - teacher[ACCURACY]
    return {"value": round(float(gap[0]), DIGITS), "ci95": interval(gap)}


def _late(mine: Sequence[RowRun]) -> float | None:
    """The share of the loss's fall that came in the last tenth, the mean over the seeds whose logs tell."""
    tenths = [s.facts["learning"] for s in mine if s.facts.get("learning")]
    shares = [share for share in map(late_share, tenths) if np.isfinite(share)]
    return round(float(np.mean(shares)), DIGITS) if shares else None


def _describe(ensemble: Ensemble, milliseconds: Mapping[str, float]) -> dict[str, Any]:
    spent = [milliseconds[name] for name in ensemble.graphs if name in milliseconds]
    return {
        "members": list(ensemble.members),
        "parameters": ensemble.parameters,
        "milliseconds": round(sum(spent), 3) if len(spent) == len(ensemble.members) else None,
        "measures": {
            name: {"value": round(float(values[0]), DIGITS), "ci95": interval(values), "spread": None}
            for name, values in ensemble.measures.items()
        },
    }


def _judge(claim: Claim, rounds: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> dict[str, Any]:
    """What both rows share is compared round by round; a gain is positive where `row` is better."""
    entry: dict[str, Any] = asdict(claim) | {"measures": list(claim.measures), "gains": {}}
    if claim.row not in rounds or claim.against not in rounds:
        return entry
    for name, mine in rounds[claim.row].items():
        other = rounds[claim.against].get(name)
        if other is None:
            continue
        gain = other - mine if name in LOWER_IS_BETTER else mine - other
        a, b = interval(mine), interval(other)
        entry["gains"][name] = {
            "value": round(float(gain[0]), DIGITS),
            "ci95": (between := interval(gain)),
            "overlap": a[0] <= b[1] and b[0] <= a[1],
            "verdict": "held" if between[0] > 0 else "reversed" if between[1] < 0 else "open",
        }
    return entry
