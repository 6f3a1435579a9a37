"""The sections of a report: which part of the findings is said how."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from service.measures.demographics import Inequality
from service.measures.thresholds import count_allowed
from service.report.findings import Findings, Groups, Pair, judge
from service.report.html import Cell, Markup, bullets, figure, number, paragraph, plain, table
from service.report.opening import describe, describe_failures, summarise, verdict

SHOWN_SHARES = (0.02, 0.05, 0.1, 0.2)

Section = tuple[str, str, list[Markup]]
"""Its place in the page, its title and its content."""


def write_sections(findings: Findings, figures: Mapping[str, Sequence[str]]) -> Iterator[Section]:
    """Write the sections that these findings fill; `figures` are the drawings of each part, as SVG."""
    yield "summary", "Summary", list(summarise(findings))
    yield "subject", "What was measured", list(describe(findings))
    if findings.acquisition:
        yield "acquisition", "Failure to acquire and to enrol", list(describe_failures(findings))
    yield "served", "Error rates at the served thresholds", list(_served(findings))
    if findings.det:
        yield "det", "Detection error trade-off", list(_det(findings, figures["det"]))
    if findings.groups:
        yield "groups", "Error rates by group", list(_groups(findings, figures["groups"]))
    if findings.discard:
        yield "discard", "Error against discard", list(_discard(findings, figures["discard"]))
    if findings.identification:
        yield (
            "identification",
            "Identification by gallery size",
            list(_identification(findings, figures["identification"])),
        )
    if findings.advice:
        yield "advice", "Which rate to ask for", list(_advice(findings))
    if findings.highest_impostors or findings.lowest_genuine:
        yield "worst", "The worst pairs", list(_worst(findings))
    yield "limits", "What these data cannot say", [bullets(findings.limits)]


def _served(findings: Findings) -> Iterator[Markup]:
    live = findings.subject.kind == "decisions"
    yield paragraph(
        Markup(
            "For each rate that can be asked of the service: the threshold that it decides at, and what was observed "
            "there. The promise is <em>kept</em> where the observed rate is not above the one asked, <em>exceeded</em> "
            "where even the lower end of its interval is."
        )
    )
    head = ["asked", *(["of"] if live else []), "threshold", "FMR", "observed / asked", "FNMR", "promise"]
    rows: list[list[Cell]] = []
    for each in findings.served:
        ratio = None if each.fmr is None else each.fmr.value / each.asked
        of: list[Cell] = [each.basis] if live else []
        rows.append(
            [number(each.asked), *of, f"{each.threshold:.4f}", each.fmr, ratio, each.fnmr, verdict(each.verdict)]
        )
    yield table(head, rows)
    if any(each.frr is not None for each in findings.served):
        yield table(
            ["asked", "FAR", "FRR"],
            [[number(each.asked), each.far, each.frr] for each in findings.served],
            "With photographs that could not be acquired counted as not matching",
        )


def _det(findings: Findings, figures: Sequence[str]) -> Iterator[Markup]:
    band = "of the genuine decisions alone" if findings.subject.kind == "decisions" else "by drawing people again"
    if not figures:
        yield paragraph("At no rate that these data can carry does a genuine comparison fail: no curve to draw.")
    for svg in figures:
        yield figure(
            svg,
            f"FNMR against FMR, with its 95 % band {band}. Dashed: fewer than 30 false matches stand behind it (rule "
            "of 30). It ends where three false matches would be the rate (rule of 3). Points: the rates asked, at "
            "their served thresholds.",
        )
    decades = [point for point in findings.det if math.log10(point.fmr).is_integer()]
    impostors = findings.counts["impostor comparisons"]
    yield table(
        ["FMR", "threshold", "FNMR", "false matches allowed"],
        [
            [number(each.fmr), f"{each.threshold:.4f}", each.fnmr, count_allowed(each.fmr, impostors)]
            for each in decades or findings.det
        ],
    )


def _groups(findings: Findings, figures: Sequence[str]) -> Iterator[Markup]:
    yield paragraph(
        "Both photographs of a comparison are of the group. Max / geometric mean is 1, and the Gini coefficient 0, "
        "where all groups fare alike (ISO/IEC 19795-10). A group without an error counts as half of one in the "
        "geometric mean. A hollow point: no error was observed, and the interval is that of the rule of 3."
    )
    for groups, svg in zip(findings.groups, figures, strict=True):
        yield Markup(f"<h3>{plain(f'{groups.attribute}, FMR {number(groups.asked)} asked')}</h3>")
        yield figure(svg, f"At the threshold {groups.threshold:.4f}. Dashed: the rate asked.")
        yield table(
            ["group", "people", "photographs", "FMR", "comparisons", "promise", "FNMR", "comparisons"],
            [
                [
                    each.name,
                    each.people,
                    each.photographs,
                    each.fmr,
                    each.fmr.trials if each.fmr else None,
                    verdict(judge(each.fmr, groups.asked, each.people)),
                    each.fnmr,
                    each.fnmr.trials if each.fnmr else None,
                ]
                for each in groups.groups
            ],
        )
        yield table(
            ["", "worst group", "max / geometric mean", "95 % interval", "Gini"],
            [
                ["FMR", *_unequal(groups.fmr_inequality, groups.fmr_ratio_ci95)],
                ["FNMR", *_unequal(groups.fnmr_inequality, groups.fnmr_ratio_ci95)],
            ],
        )
        if groups.across:
            yield _across(groups)


def _unequal(inequality: Inequality | None, interval: tuple[float, float] | None) -> list[Cell]:
    if inequality is None:
        return ["no error in two groups or more", None, None, None]
    ends = Markup(f"{number(interval[0])} to {number(interval[1])}") if interval else None
    return [inequality.worst, inequality.over_geometric_mean, ends, inequality.gini]


def _across(groups: Groups) -> Markup:
    names = [each.name for each in groups.groups]
    within = {each.name: each.fmr.value if each.fmr else None for each in groups.groups}
    rows: list[list[Cell]] = [
        [first, *(within[first] if first == second else groups.across[first].get(second) for second in names)]
        for first in names
    ]
    return table(["FMR", *names], rows, "Within groups (on the diagonal) and between them")


def _discard(findings: Findings, figures: Sequence[str]) -> Iterator[Markup]:
    yield paragraph(
        "Photographs of the lowest quality are left out, and FNMR is measured again at the same threshold. A measure "
        "that knows which photographs fail makes the line fall steeply; a line that stays level knows nothing."
    )
    if not figures:
        yield paragraph("No genuine comparison fails at these thresholds: nothing could be gained.")
    for svg in figures:
        yield figure(svg, "FNMR of what remains against the share of photographs left out, by measure of quality.")
    rows: list[list[Cell]] = []
    for curve in findings.discard:
        at = [[point for point in curve.points if point.share <= share][-1] for share in (0.0, *SHOWN_SHARES)]
        rows.append([curve.measure, number(curve.asked), *(point.rate for point in at)])
    yield table(["measure", "FMR asked", "FNMR of all", *(f"{share:.0%} left out" for share in SHOWN_SHARES)], rows)
    for cut in {curve.served_cut for curve in findings.discard if curve.served_cut is not None}:
        yield paragraph(f"The service calls a face unrecognisable below a recognisability of {cut:.3f}.")


def _identification(findings: Findings, figures: Sequence[str]) -> Iterator[Markup]:
    yield paragraph(
        "People are drawn again and again: some are enrolled with one photograph each, the other half are strangers. "
        "FNIR is the share of searches for enrolled people that do not return them first, at or above the threshold "
        "that the service takes for the FPIR asked and the size of the gallery; FPIR the share of strangers for whom "
        "anybody is returned. Intervals hold 95 % of the draws."
    )
    for place, identification in enumerate(findings.identification):
        yield Markup(f"<h3>FPIR {number(identification.fpir)} asked</h3>")
        if place < len(figures):
            yield figure(figures[place], f"Means of {identification.draws} draws. Dashed: the FPIR asked.")
        at_observed = f"FNIR where FPIR is {number(identification.fpir)}"
        yield table(
            ["people", "threshold", "FNIR", "FPIR", "not at rank 1", at_observed],
            [
                [each.size, f"{each.threshold:.4f}", each.fnir, each.fpir, each.rank_one_miss, each.fnir_at_fpir]
                for each in identification.galleries
            ],
        )


def _advice(findings: Findings) -> Iterator[Markup]:
    yield paragraph(
        "To keep a rate on people like these, ask for the rate in the second column: the loosest at which the upper "
        "end of the observed rate's interval stays below what is wanted. It is passed as fmr to the service."
    )
    rows: list[list[Cell]] = [
        [
            number(each.wanted),
            None if each.fmr is None else number(each.fmr),
            each.among,
            each.observed,
            each.fnmr,
            each.why,
        ]
        for each in findings.advice
    ]
    yield table(["FMR wanted", "ask for", "among", "FMR observed", "FNMR", "why"], rows)


def _worst(findings: Findings) -> Iterator[Markup]:
    yield paragraph("Ids only. Look at these first: a wrong label shows here as an error of the model.")
    heads = ["request", "collection", "score"] if findings.subject.kind == "decisions" else ["first", "second", "score"]
    for pairs, caption in (
        (findings.highest_impostors, "Different people, the highest scores"),
        (findings.lowest_genuine, "One person, the lowest scores"),
    ):
        if pairs:
            yield table(heads, [_pair(each) for each in pairs], caption)


def _pair(pair: Pair) -> list[Cell]:
    return [pair.first, pair.second, f"{pair.score:.4f}"]
