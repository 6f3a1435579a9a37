"""What a newcomer reads first: which rows are at their end, all rows in one table, and each paper in two sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

JUDGES = {
    "lfw accuracy": "LFW accuracy",
    "celeba tar 0.01": "CelebA TAR at FMR 0.01",
    "nme": "mean landmark error",
    "lfw fmr": "LFW FMR at devTrain's threshold",
    "celeba rank-1": "rank-1 among distractors",
    "celeba dir 0.1": "DIR at FPIR 0.1 among distractors",
}
"""The measures by which claims are judged; the others stand in the tables."""

HELD_APART = "Held on every measure, with intervals apart"
HELD = "Held on every measure, though the rows' own intervals overlap"
HALF = "Held on one measure, open on the other"
REVERSED = "Reversed on every measure"
AGAINST = "Reversed on one measure"
OPEN = "Open: these runs cannot tell"
NOT_RUN = "Not judged: one of the two rows is not at its end"
VERDICTS = (HELD_APART, HELD, HALF, REVERSED, AGAINST, OPEN, NOT_RUN)

NEAR = 0.02

Json = Mapping[str, Any]


def describe_state(rows: Sequence[Json]) -> str:
    """How many rows are at their end."""
    ended = sum(row["end"] for row in rows)
    waiting = sum(not row["end"] and not row["reason"] for row in rows)
    early = f", {waiting} show early results of other sets" if waiting else ""
    state = f"**{ended} of {len(rows)} rows are trained to their end**{early}; the table says which."
    if ended == len(rows):
        state = f"All {ended} rows are trained to their end."
    taught = [row["gap"]["value"] for row in rows if row["end"] and row["control"] and row.get("gap")]
    if not taught:
        return state
    near = sum(gap >= -NEAR for gap in taught)
    return (
        f"{state} {near} of {len(taught)} rows with a method are within {100 * NEAR:.0f} points of the teacher on LFW "
        f"View 1."
    )


def tabulate(rows: Sequence[Json]) -> str:
    """One table of every row: what it is, what it costs, how good it is, and whether that is its end."""
    head = ["row", "what", "ms a face", "LFW View 1", "points from the teacher", "trained"]
    lines = [line(head), line(["---"] * len(head))]
    for row in rows:
        if row["reason"]:
            lines.append(line([row["recipe"], row["what"], "", "", "", row["reason"]]))
            continue
        measures = row["measures"]
        good = "lfw accuracy" in measures
        value = f"{100 * measures['lfw accuracy']['value']:.1f} %" if good else "landmarks, below"
        seeds = f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"
        trained = f"to its end, {seeds}" if row["end"] else f"early: {row['waits']}"
        gap = f"{100 * row['gap']['value']:+.1f}" if row.get("gap") else ""
        lines.append(line([row["recipe"], row["what"], f"{row['milliseconds']:.2f}", value, gap, trained]))
    return "\n".join(lines)


def describe_papers(results: Json) -> str:
    """Two sentences for each paper: what held of what it claims, and how sure that is."""
    system = {row["recipe"]: row["system"] for row in results["rows"]}
    ended = {row["recipe"]: row["seeds"] for row in results["rows"] if row["end"]}
    lines = []
    for name in dict.fromkeys(system.values()):
        claims = [claim for claim in results["claims"] if system[claim["row"]] == name]
        if claims:
            mine = [row for row in results["rows"] if row["system"] == name]
            said = (_held(claims), _sure(claims, ended), _best(mine))
            lines.append(f"- **{name}.** {' '.join(sentence for sentence in said if sentence)}")
    return "\n".join(lines)


def describe_end(rows: Sequence[Json]) -> str:
    """Whether learning had ended, by what the loss still fell in the last tenth of the schedule."""
    late = {row["recipe"]: row["late"] for row in rows if row["end"] and row.get("late") is not None}
    if not late:
        return "No row at its end has a log that tells how its loss fell."
    last = max(late, key=lambda recipe: late[recipe])
    return (
        f"Of all that its loss fell from the first tenth of the schedule to the last, the middle row's fell "
        f"{100 * median(late.values()):.1f} % in the last tenth, and no row's more than {100 * late[last]:.1f} % "
        f"(`{last}`): each table says it for its rows. That the rate is nothing then is one reason; a longer schedule "
        f"would be another comparison, which `--steps` makes."
    )


def judged_by(claim: Json) -> dict[str, Json]:
    """The gains by which a claim is judged, by measure."""
    return {name: claim["gains"][name] for name in claim["measures"] if name in claim["gains"]}


def became(claim: Json) -> str:
    """What became of one claim."""
    judged = list(judged_by(claim).values())
    verdicts = {gain["verdict"] for gain in judged}
    if not verdicts:
        return NOT_RUN
    if verdicts == {"held"}:
        return HELD if any(gain["overlap"] for gain in judged) else HELD_APART
    if verdicts == {"open"}:
        return OPEN
    if verdicts == {"held", "open"}:
        return HALF
    return REVERSED if verdicts == {"reversed"} else AGAINST


def _held(claims: Sequence[Json]) -> str:
    """What became of a paper's claims, those at their end where there are any."""
    judged = [claim for claim in claims if judged_by(claim)]
    judged = [claim for claim in judged if claim["end"]] or judged
    if not judged:
        return "None of its claims can be judged yet."
    said = []
    for label, kinds in (
        ("held", (HELD_APART, HELD)),
        ("held on one measure of two", (HALF,)),
        ("the contrary of this was seen", (REVERSED, AGAINST)),
        ("open", (OPEN,)),
    ):
        mine = [f"*{claim['says'].partition(' (')[0]}*" for claim in judged if became(claim) in kinds]
        if mine:
            said.append(f"{label}: {', '.join(mine)}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _best(rows: Sequence[Json]) -> str:
    """The row at its end that is nearest to the teacher."""
    near = [row for row in rows if row["end"] and row.get("gap")]
    if not near:
        return ""
    best = max(near, key=lambda row: float(row["gap"]["value"]))
    accuracy, gap = best["measures"]["lfw accuracy"]["value"], best["gap"]["value"]
    place = f"{abs(100 * gap):.1f} points {'above' if gap > 0 else 'below'} the teacher"
    return f"Its best row, `{best['recipe']}`, has {100 * accuracy:.1f} % on View 1, {place}."


def _sure(claims: Sequence[Json], ended: Mapping[str, int]) -> str:
    """How much that is worth."""
    judged = [claim for claim in claims if claim["end"] and judged_by(claim)]
    if not any(judged_by(claim) for claim in claims):
        return ""
    if not judged:
        return "That is of early rows and of other sets: it says how learning begins, not where it ends."
    seeds = {ended[name] for claim in judged for name in (claim["row"], claim["against"])}
    more = " or more" if len(seeds) > 1 else ""
    luck = "one seed, so a small gain may be luck" if min(seeds) == 1 else f"{min(seeds)} seeds{more}"
    apart = sum(became(claim) == HELD_APART for claim in judged)
    rest = "" if len(judged) == len(claims) else f" {len(claims) - len(judged)} more claims wait for rows."
    return (
        f"{len(judged)} of {len(claims)} claims are of rows at their end, by {luck}; for {apart} the rows' own "
        f"intervals are apart.{rest}"
    )


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
