"""The page of the comparison, made of the results alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from training.atomic_folder import write_text
from training.papers.budget import RECIPES
from training.papers.notes import ALIGNS, write_note
from training.papers.rows import DARMSTADT, LATER, SHRINK, TEACHER
from training.papers.run import CPU
from training.papers.summary import (
    JUDGES,
    VERDICTS,
    Json,
    became,
    describe_end,
    describe_papers,
    describe_state,
    judged_by,
    line,
    tabulate,
)
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import read_recipe

RECOGNITION = {
    "lfw accuracy": "LFW accuracy",
    "lfw tar 0.01": "LFW TAR at FMR 0.01",
    "lfw tar 0.001": "at 0.001",
    "celeba tar 0.01": "CelebA TAR at FMR 0.01",
    "celeba tar 0.001": "at 0.001",
    "pins tar 0.01": "pins TAR at FMR 0.01",
}
FIXED = {"lfw fmr": "LFW FMR at devTrain's threshold", "lfw fnmr": "FNMR there"}
IDENTIFICATION = {"celeba rank-1": "rank-1", "celeba dir 0.1": "DIR at FPIR 0.1", "celeba dir 0.01": "at 0.01"}
ALIGNMENT = {"nme": "mean error", "failures": "failure rate"}
MORE = {"Teacher": FIXED | IDENTIFICATION, DARMSTADT: FIXED, SHRINK: IDENTIFICATION, LATER: IDENTIFICATION}
"""What the tables of some systems show besides, because it is what they claim."""


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
        trained=_processors(data),
        held=f"{data['held_out_crops']:,}",
        late=describe_end(results["rows"]),
        identification=_identification(data),
        pins=_pins(data),
        teacher=_teacher(results),
        early=_early(results),
        state=describe_state(results["rows"]),
        overview=tabulate(results["rows"]),
        papers=describe_papers(results),
        tables="\n\n".join(_table(system, rows, results) for system, rows in _systems(results["rows"])),
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
        tables.setdefault(f"{row['system']}{ALIGNS}" if aligns else row["system"], []).append(row)
    return list(tables.items())


def _table(system: str, rows: Sequence[Json], results: Json) -> str:
    aligns = system.endswith(ALIGNS)
    columns = ALIGNMENT if aligns else RECOGNITION | MORE.get(system, {})
    head = ["recipe", "what", "ms a face", *([] if aligns else ["from the teacher"]), *columns.values()]
    head += ["late", "seeds", "parameters", "multiply-adds"]
    lines = [f"## {system}", "", line(head), line(["---"] * len(head))]
    for row in rows:
        cells = [f"`{row['recipe']}`", row["what"]]
        if row["reason"]:
            lines.append(line([*cells, f"not run: {row['reason']}", *[""] * (len(head) - 3)]))
            continue
        cells += [f"{row['milliseconds']:.2f}", *([] if aligns else [_gap(row.get("gap"))])]
        cells += [_number(row["measures"][name]) if name in row["measures"] else "" for name in columns]
        late = row.get("late")
        cells += [
            f"{100 * late:.1f} %" if late is not None else "",
            _seeds(row),
            _short(row["parameters"]),
            _short(row["multiply_adds"]),
        ]
        lines.append(line(cells))
    note = write_note(system, results)
    return "\n".join([*lines, *(["", note] if note else [])])


def _gap(gap: Json | None) -> str:
    """Points of accuracy above the teacher, or below."""
    if gap is None:
        return ""
    low, high = gap["ci95"]
    return f"{100 * gap['value']:+.1f} ({100 * low:+.1f} .. {100 * high:+.1f})"


def _number(measure: Json) -> str:
    low, high = measure["ci95"]
    spread = f" ± {100 * measure['spread']:.1f}" if measure["spread"] is not None else ""
    return f"{100 * measure['value']:.1f}{spread} ({100 * low:.1f} .. {100 * high:.1f})"


def _claims(claims: Sequence[Json]) -> str:
    lines = [line(["claim", "rows", "measure", "gain", "95 % interval", "apart", "verdict"]), line(["---"] * 7)]
    for claim in claims:
        pair = f"`{claim['row']}` against `{claim['against']}`"
        judged = judged_by(claim)
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
        early = "" if claim["end"] or not judged_by(claim) else ", early"
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


def _processors(data: Json) -> str:
    """Where the rows were trained, if not all of them on CPUs."""
    runs = data.get("trained_on", {})
    others = {name: count for name, count in runs.items() if name != CPU}
    if not others:
        return ""
    said = " and ".join(f"{count} were trained on {name}" for name, count in sorted(others.items()))
    return f" Of {sum(runs.values())} runs, {said} and the others on CPUs: by the same code and the same recipes."


def _teacher(results: Json) -> str:
    row = results["rows"][0]
    lessons = results["budget"]["lessons"]
    length = "as many steps as a row" if lessons == 1 else f"{lessons} times a row's steps"
    how = (
        f"facet-m's net at 64 pixels in place of 128, from facet-m's weights, its stages open, trained on for "
        f"{length} by ArcFace and by facet-m's embedding"
    )
    if row["end"]:
        return f"{how}: {_accuracy(row)}."
    why = f": {row['reason']}" if row["reason"] else ""
    early = "" if row["reason"] else f" Early rows learnt from another of that shape, {_accuracy(row)}."
    return f"{how}; it is not at its end{why}.{early}"


def _accuracy(row: Json) -> str:
    return f"{100 * row['measures']['lfw accuracy']['value']:.1f} % on LFW View 1"


def _early(results: Json) -> str:
    """What the rows are that are not at their end; nothing where there are none."""
    shown = [row for row in results["rows"] if not row["end"] and not row["reason"]]
    if not shown:
        return ""
    budget, data = results["early"]["budget"], results["early"]["data"]
    seen = budget["steps"] * budget["batch"]
    return (
        f"\n- **Early rows.** A row that is not at its end shows what it was after {budget['steps']} steps of "
        f"{budget['batch']} crops, {seen / data['crops']:.2f} of an epoch of other sets "
        f"({', '.join(sorted(data['sets']))}): how much a method helps at the very beginning of learning, and nothing "
        f"about how good a network can become. Early rows are compared with early rows alone, and their verdicts stand "
        f"in brackets."
    )


def _identification(data: Json) -> str:
    if "distractors" not in data:
        return "was not measured."
    return (
        f"is of {data['mated']} probes of {data['enrolled']} enrolled people of CelebA and {data['nonmated']} probes "
        f"of others, with {data['distractors']:,} pictures of LFW's devTrain enrolled besides as distractors: rank-1 "
        f"is the share of probes whose own reference is the nearest, DIR at an FPIR the share that is that and above "
        f"the threshold which such a share of the others exceeds."
    )


def _pins(data: Json) -> str:
    if "pins_crops" not in data:
        return "were not measured."
    return (
        f"are {data['pins_crops']:,} crops of {data['pins_people']} people whom nobody was trained on, in many poses, "
        f"lights and years. So few people make wide intervals."
    )


def _seeds(row: Json) -> str:
    return str(row["seeds"]) if row["end"] else f"{row['seeds']}, early"


def _short(count: int) -> str:
    return f"{count / 1e6:.2f}M"
