"""What a newcomer reads first: which rows are at their end, all rows in one table, and each paper in two sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

JUDGES = {"lfw accuracy": "LFW accuracy", "celeba tar 0.01": "CelebA TAR at FMR 0.01", "nme": "mean landmark error"}
"""The measures by which claims are judged; the others stand in the table."""

HELD_APART = "Held on every measure, with intervals apart"
HELD = "Held on every measure, though the rows' own intervals overlap"
HALF = "Held on one measure, open on the other"
REVERSED = "Reversed on every measure"
AGAINST = "Reversed on one measure"
OPEN = "Open: these runs cannot tell"
NOT_RUN = "Not judged: one of the two rows is not at its end"
VERDICTS = (HELD_APART, HELD, HALF, REVERSED, AGAINST, OPEN, NOT_RUN)

Json = Mapping[str, Any]


def describe_state(rows: Sequence[Json]) -> str:
    """How many rows are at their end."""
    ended = sum(row["end"] for row in rows)
    waiting = sum(not row["end"] and not row["reason"] for row in rows)
    if ended == len(rows):
        return f"All {ended} rows are trained to their end."
    early = f", {waiting} show early results of other sets" if waiting else ""
    return f"**{ended} of {len(rows)} rows are trained to their end**{early}; the table says which."


def tabulate(rows: Sequence[Json]) -> str:
    """One table of every row: what it is, what it costs, how good it is, and whether that is its end."""
    head = ["row", "what", "ms a face", "LFW View 1", "trained"]
    lines = [line(head), line(["---"] * len(head))]
    for row in rows:
        if row["reason"]:
            lines.append(line([row["recipe"], row["what"], "", "", row["reason"]]))
            continue
        measures = row["measures"]
        good = "lfw accuracy" in measures
        value = f"{100 * measures['lfw accuracy']['value']:.1f} %" if good else "landmarks, below"
        seeds = f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"
        trained = f"to its end, {seeds}" if row["end"] else "early"
        lines.append(line([row["recipe"], row["what"], f"{row['milliseconds']:.2f}", value, trained]))
    return "\n".join(lines)


def describe_papers(results: Json) -> str:
    """Two sentences for each paper: what held of what it claims, and how sure that is."""
    system = {row["recipe"]: row["system"] for row in results["rows"]}
    ended = {row["recipe"]: row["seeds"] for row in results["rows"] if row["end"]}
    lines = []
    for name in dict.fromkeys(system.values()):
        claims = [claim for claim in results["claims"] if system[claim["row"]] == name]
        if claims:
            lines.append(f"- **{name}.** {_held(claims)} {_sure(claims, ended)}")
    return "\n".join(lines)


def became(claim: Json) -> str:
    """What became of one claim."""
    judged = [gain for name, gain in claim["gains"].items() if name in JUDGES]
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
    judged = [claim for claim in claims if claim["end"]] or [claim for claim in claims if claim["gains"]]
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


def _sure(claims: Sequence[Json], ended: Mapping[str, int]) -> str:
    """How much that is worth."""
    judged = [claim for claim in claims if claim["end"]]
    if not judged:
        return "That is of early rows and of other sets: it says how learning begins, not where it ends."
    seeds = min(min(ended[claim["row"]], ended[claim["against"]]) for claim in judged)
    luck = "one seed, so a small gain may be luck" if seeds == 1 else f"{seeds} seeds or more"
    apart = sum(became(claim) == HELD_APART for claim in judged)
    rest = "" if len(judged) == len(claims) else f" {len(claims) - len(judged)} more claims wait for rows."
    return (
        f"{len(judged)} of {len(claims)} claims are of rows at their end, by {luck}; for {apart} the rows' own "
        f"intervals are apart.{rest}"
    )


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
