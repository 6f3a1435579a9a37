"""The page of the comparison, made of the results alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from training.atomic_folder import write_text
from training.papers.budget import RECIPES
from training.papers.rows import TEACHER
from training.papers.summary import JUDGES, VERDICTS, Json, became, describe_papers, describe_state, line, tabulate
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import read_recipe

RECOGNITION = {
    "lfw accuracy": "LFW accuracy",
    "lfw tar 0.01": "LFW TAR at FMR 0.01",
    "lfw tar 0.001": "at 0.001",
    "celeba tar 0.01": "CelebA TAR at FMR 0.01",
    "celeba tar 0.001": "at 0.001",
}
ALIGNMENT = {"nme": "mean error", "failures": "failure rate"}


def write_page(results: Json, folder: Path) -> Path:
    """Write `papers.md`."""
    template = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    budget, data = results["budget"], results["data"]
    seen = budget["steps"] * budget["batch"]
    epochs = f", {seen / data['crops']:.1f} epochs of the labelled ones" if data["sets"] else ""
    text = Template(template).substitute(
        steps=budget["steps"],
        batch=budget["batch"],
        rounds=budget["rounds"],
        seen=f"{seen:,} crops{epochs}",
        data=_data(data),
        held=f"{data['held_out_crops']:,}",
        mean_shape=f"{100 * data['mean_shape']['nme']:.1f}",
        teacher=_teacher(results),
        early=_early(results),
        state=describe_state(results["rows"]),
        overview=tabulate(results["rows"]),
        papers=describe_papers(results),
        tables="\n\n".join(_table(system, rows) for system, rows in _systems(results["rows"])),
        claims=_claims(results["claims"]),
        verdict=_verdict(results["claims"]),
    )
    write_text(folder / "papers.md", text)
    return folder / "papers.md"


def _systems(rows: Sequence[Json]) -> list[tuple[str, list[Json]]]:
    """Rows by system; those that align stand in a table of their own."""
    tables: dict[str, list[Json]] = {}
    for row in rows:
        aligns = "nme" in row.get("measures", {})
        tables.setdefault(f"{row['system']}, alignment" if aligns else row["system"], []).append(row)
    return list(tables.items())


def _table(system: str, rows: Sequence[Json]) -> str:
    columns = ALIGNMENT if system.endswith(", alignment") else RECOGNITION
    head = ["recipe", "what", *columns.values(), "seeds", "parameters", "multiply-adds", "ms a face"]
    lines = [f"## {system}", "", line(head), line(["---"] * len(head))]
    for row in rows:
        cells = [f"`{row['recipe']}`", row["what"]]
        if row["reason"]:
            lines.append(line([*cells, f"not run: {row['reason']}", *[""] * (len(head) - 3)]))
            continue
        cells += [_number(row["measures"][name]) for name in columns]
        cells += [
            _seeds(row),
            _short(row["parameters"]),
            _short(row["multiply_adds"]),
            f"{row['milliseconds']:.2f}",
        ]
        lines.append(line(cells))
    return "\n".join(lines)


def _number(measure: Json) -> str:
    low, high = measure["ci95"]
    spread = f" ± {100 * measure['spread']:.1f}" if measure["spread"] is not None else ""
    return f"{100 * measure['value']:.1f}{spread} ({100 * low:.1f} .. {100 * high:.1f})"


def _claims(claims: Sequence[Json]) -> str:
    lines = [line(["claim", "rows", "measure", "gain", "95 % interval", "apart", "verdict"]), line(["---"] * 7)]
    for claim in claims:
        pair = f"`{claim['row']}` against `{claim['against']}`"
        judged = {name: gain for name, gain in claim["gains"].items() if name in JUDGES}
        if not judged:
            lines.append(line([claim["says"], pair, "", "", "", "", "not judged"]))
        for number, (name, gain) in enumerate(judged.items()):
            low, high = gain["ci95"]
            lines.append(
                line(
                    [
                        "" if number else claim["says"],
                        "" if number else pair,
                        JUDGES[name],
                        f"{100 * gain['value']:+.1f}",
                        f"{100 * low:+.1f} .. {100 * high:+.1f}",
                        "no" if gain["overlap"] else "yes",
                        gain["verdict"] if claim["end"] else f"({gain['verdict']})",
                    ]
                )
            )
    return "\n".join(lines)


def _verdict(claims: Sequence[Json]) -> str:
    """The claims by what became of them."""
    groups: dict[str, list[str]] = {kind: [] for kind in VERDICTS}
    for claim in claims:
        early = "" if claim["end"] or not claim["gains"] else ", early"
        groups[became(claim)].append(f"{claim['says']} (`{claim['row']}`){early}")
    said = {kind: "\n".join(f"- {said_of}" for said_of in mine) for kind, mine in groups.items() if mine}
    return "\n\n".join(f"**{kind}**\n\n{lines}" for kind, lines in said.items())


def _data(data: Json) -> str:
    sets = ", ".join(f"{name} (digest `{digest[:12]}`)" for name, digest in data["sets"].items())
    if not data["sets"]:
        return "No row is at its end, so there is nothing to say yet."
    described = (
        f"{data['crops']:,} labelled crops of {data['classes']:,} people from {sets}. Most people have two crops: "
        f"little to learn an identity from, so labels alone do poorly here."
    )
    recipe = read_recipe(RECIPES / f"{TEACHER}.yaml")
    assert isinstance(recipe, EmbeddingRecipe)
    today = recipe.data.sets
    if set(today) == set(data["sets"]):
        return described
    return (
        f"{described} **These results are of other sets than the recipes name today** ({', '.join(sorted(today))}), "
        f"so the commands above make other numbers."
    )


def _teacher(results: Json) -> str:
    row = results["rows"][0]
    if row["reason"]:
        return f"It is not at its end: {row['reason']}."
    accuracy = 100 * row["measures"]["lfw accuracy"]["value"]
    if not row["end"]:
        return (
            f"Rows at their end learn from facet-m's net at 64 pixels, trained on from its weights; it is not at its "
            f"end. Early rows learnt from another, of the same shape: {accuracy:.1f} % ([its card](papers-teacher.md))."
        )
    return (
        f"facet-m's net at 64 pixels in place of 128, from its weights, stages open; trained for "
        f"{results['budget']['lessons']} times a row's steps by ArcFace and facet-m's embedding: {accuracy:.1f} % on "
        f"LFW View 1. Early rows learnt from [an earlier one](papers-teacher.md)."
    )


def _early(results: Json) -> str:
    """What the rows are that are not at their end."""
    shown = [row for row in results["rows"] if not row["end"] and not row["reason"]]
    if not shown:
        return "There are none: every row that was run is at its end."
    budget, data = results["early"]["budget"], results["early"]["data"]
    seen = budget["steps"] * budget["batch"]
    return (
        f"A row that is not at its end shows what it was after {budget['steps']} steps of {budget['batch']} crops, "
        f"{seen / data['crops']:.2f} of an epoch of other sets ({', '.join(sorted(data['sets']))}): how much a method "
        f"helps at the very beginning of learning, and nothing about how good a network can become. Early rows are "
        f"compared with early rows alone."
    )


def _seeds(row: Json) -> str:
    return str(row["seeds"]) if row["end"] else f"{row['seeds']}, early"


def _short(count: int) -> str:
    return f"{count / 1e6:.2f}M"
