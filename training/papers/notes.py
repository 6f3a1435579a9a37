"""What stands below a paper's table: the comparison that its own headline makes, beside what was measured here."""

from __future__ import annotations

from training.papers.rows import KARLEKAR, MOBILEID, TEACHER, WANG
from training.papers.summary import Json, line

ALIGNS = ", alignment"
"""Ends the name of a table of alignment rows."""
STATED = {"smaller": 51.6, "faster": 90.0}
"""MobileID's student against its ensemble of six networks (Luo et al., AAAI 2016)."""


def write_note(system: str, results: Json) -> str:
    """The note below the table of a system; empty where there is none to make."""
    rows = {row["recipe"]: row for row in results["rows"] if not row["reason"]}
    if system == KARLEKAR:
        return _compare_resolutions(rows)
    if system == MOBILEID:
        return _compare_ensemble(rows, results.get("ensemble"))
    if system == f"{WANG}{ALIGNS}":
        return _compare_jitter(results["data"])
    return ""


def _compare_resolutions(rows: dict[str, Json]) -> str:
    """The same net at three resolutions: what it costs, and the best row at each."""
    kinds = {"whole": [TEACHER], "a half": [], "a quarter": []}
    for recipe, row in rows.items():
        if row["system"] == KARLEKAR:
            kinds["a quarter" if recipe.endswith("-quarter") else "a half"].append(recipe)
    first = rows.get(TEACHER)
    lines = [
        line(["resolution", "multiply-adds", "of the teacher's", "ms a face", "speed", "best row", "LFW accuracy"]),
        line(["---"] * 7),
    ]
    for name, recipes in kinds.items():
        mine = [rows[recipe] for recipe in recipes if recipe in rows]
        # a row at its end is not compared with an early one
        mine = [row for row in mine if row["end"]] or mine
        if first is None or not mine:
            continue
        best = max(mine, key=lambda row: float(row["measures"]["lfw accuracy"]["value"]))
        lines.append(
            line(
                [
                    name,
                    f"{best['multiply_adds'] / 1e6:.2f}M",
                    f"1/{first['multiply_adds'] / best['multiply_adds']:.1f}",
                    f"{best['milliseconds']:.2f}",
                    f"{first['milliseconds'] / best['milliseconds']:.1f} x",
                    f"`{best['recipe']}`{'' if best['end'] else ', early'}",
                    f"{100 * best['measures']['lfw accuracy']['value']:.1f} %",
                ]
            )
        )
    said = "The paper's fourfold advantage is that of half the resolution: a quarter of the multiply-adds, of one net."
    return "\n".join([said, "", *lines]) if len(lines) > 2 else ""


def _compare_ensemble(rows: dict[str, Json], ensemble: Json | None) -> str:
    row = rows.get("mobileid")
    if row is None or ensemble is None:
        return ""
    smaller = ensemble["parameters"] / row["parameters"]
    accuracy = ensemble["measures"]["lfw accuracy"]["value"]
    mine = row["measures"]["lfw accuracy"]["value"]
    speed = time = ""
    if ensemble["milliseconds"]:
        time = f", {ensemble['milliseconds']:.1f} ms a face"
        speed = f" and {ensemble['milliseconds'] / row['milliseconds']:.0f} times as fast"
    return (
        f"The ensemble ({' and '.join(ensemble['members'])}, the mean of their cosines) has "
        f"{ensemble['parameters'] / 1e6:.2f}M parameters{time} and {100 * accuracy:.1f} % on LFW View 1. `mobileid` is "
        f"{smaller:.1f} times smaller{speed}, at {100 * mine:.1f} %{'' if row['end'] else ' (early)'}. The paper "
        f"states {STATED['smaller']} and {STATED['faster']:.0f} times against six networks, and a student that is "
        f"better than they are; an ensemble of two small networks leaves less to gain."
    )


def _compare_jitter(data: Json) -> str:
    """What is reachable, and what is reached by knowing nothing."""
    jitter = data.get("jitter")
    least = (
        f"What is reachable: the detector that gave the truth, shown the moved crops that the rows are shown, differs "
        f"from itself by {100 * jitter['nme']:.1f} % of the distance between the eyes, and fails on "
        f"{100 * jitter['failures']:.1f} % of the faces (it found {100 * jitter['found']:.1f} % of them again). "
        if jitter
        else ""
    )
    return (
        f"{least}Always answering with the mean shape has an error of {100 * data['mean_shape']['nme']:.1f} %: a row "
        f"near that has learnt little of the single face."
    )
