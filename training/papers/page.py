"""The page of the comparison, made of the results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from training.atomic_folder import write_text
from training.papers.budget import RECIPES
from training.papers.rows import TEACHER
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
JUDGES = {"lfw accuracy": "LFW accuracy", "celeba tar 0.01": "CelebA TAR at FMR 0.01", "nme": "mean landmark error"}
"""The measures by which claims are judged; the others stand in the table."""

HELD_APART = "Held on every measure, with intervals apart"
HELD = "Held on every measure, though the rows' own intervals overlap"
HALF = "Held on one measure, open on the other"
REVERSED = "Reversed on every measure"
AGAINST = "Reversed on one measure"
OPEN = "Open: this budget cannot tell"
NOT_RUN = "Not run"
VERDICTS = (HELD_APART, HELD, HALF, REVERSED, AGAINST, OPEN, NOT_RUN)

Json = Mapping[str, Any]


def write_page(results: Json, folder: Path) -> Path:
    """Write `papers.md`."""
    template = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    budget, data = results["budget"], results["data"]
    seen = budget["steps"] * budget["batch"]
    text = Template(template).substitute(
        steps=budget["steps"],
        batch=budget["batch"],
        seeds=_seeds(results["rows"][1:]),
        rounds=budget["rounds"],
        seen=f"{seen:,}",
        epochs=f"{seen / data['crops']:.2f}",
        data=_data(data),
        held=f"{data['held_out_crops']:,}",
        mean_shape=f"{100 * data['mean_shape']['nme']:.1f}",
        teacher=_teacher(results),
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
    lines = [f"## {system}", "", _line(head), _line(["---"] * len(head))]
    for row in rows:
        cells = [f"`{row['recipe']}`", row["what"]]
        if row["reason"]:
            lines.append(_line([*cells, f"not run: {row['reason']}", *[""] * (len(head) - 3)]))
            continue
        cells += [_number(row["measures"][name]) for name in columns]
        cells += [
            str(row["seeds"]),
            _short(row["parameters"]),
            _short(row["multiply_adds"]),
            f"{row['milliseconds']:.2f}",
        ]
        lines.append(_line(cells))
    return "\n".join(lines)


def _number(measure: Json) -> str:
    low, high = measure["ci95"]
    spread = f" ± {100 * measure['spread']:.1f}" if measure["spread"] is not None else ""
    return f"{100 * measure['value']:.1f}{spread} ({100 * low:.1f} .. {100 * high:.1f})"


def _claims(claims: Sequence[Json]) -> str:
    lines = [_line(["claim", "rows", "measure", "gain", "95 % interval", "apart", "verdict"]), _line(["---"] * 7)]
    for claim in claims:
        pair = f"`{claim['row']}` against `{claim['against']}`"
        judged = {name: gain for name, gain in claim["gains"].items() if name in JUDGES}
        if not judged:
            lines.append(_line([claim["says"], pair, "", "", "", "", "not run"]))
        for number, (name, gain) in enumerate(judged.items()):
            low, high = gain["ci95"]
            lines.append(
                _line(
                    [
                        "" if number else claim["says"],
                        "" if number else pair,
                        JUDGES[name],
                        f"{100 * gain['value']:+.1f}",
                        f"{100 * low:+.1f} .. {100 * high:+.1f}",
                        "no" if gain["overlap"] else "yes",
                        gain["verdict"],
                    ]
                )
            )
    return "\n".join(lines)


def _verdict(claims: Sequence[Json]) -> str:
    """The claims by what became of them."""
    groups: dict[str, list[str]] = {kind: [] for kind in VERDICTS}
    for claim in claims:
        judged = [gain for name, gain in claim["gains"].items() if name in JUDGES]
        verdicts = {gain["verdict"] for gain in judged}
        if not verdicts:
            kind = NOT_RUN
        elif verdicts == {"held"}:
            kind = HELD if any(gain["overlap"] for gain in judged) else HELD_APART
        elif verdicts == {"open"}:
            kind = OPEN
        elif verdicts == {"held", "open"}:
            kind = HALF
        else:
            kind = REVERSED if verdicts == {"reversed"} else AGAINST
        groups[kind].append(f"{claim['says']} (`{claim['row']}`)")
    said = {kind: "\n".join(f"- {line}" for line in lines) for kind, lines in groups.items() if lines}
    return "\n\n".join(f"**{kind}**\n\n{lines}" for kind, lines in said.items())


def _data(data: Json) -> str:
    sets = ", ".join(f"{name} (digest `{digest[:12]}`)" for name, digest in data["sets"].items())
    described = (
        f"{data['crops']:,} labelled crops of {data['classes']:,} people from {sets}. Two crops a person are little to "
        f"learn an identity from, which is why labels alone do poorly here."
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
        return f"It could not be trained: {row['reason']}."
    accuracy = 100 * row["measures"]["lfw accuracy"]["value"]
    return (
        f"The net of Open Model Zoo's face-reidentification-retail-0095 at 64 pixels, from its weights, stages open; "
        f"trained for {results['budget']['lessons']} times a row's steps by ArcFace and facet-s's embedding: "
        f"{accuracy:.1f} % on LFW View 1 ([its card](papers-teacher.md))."
    )


def _seeds(rows: Sequence[Json]) -> str:
    """How many seeds the rows that ran have."""
    counts = [row["seeds"] for row in rows if row["seeds"]]
    low, high = min(counts, default=0), max(counts, default=0)
    count = str(low) if low == high else f"{low} to {high}"
    return f"{count} seed{'' if count == '1' else 's'}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(count: int) -> str:
    return f"{count / 1e6:.2f}M"
