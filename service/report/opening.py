"""How a report begins: its result in short, what was measured on what, what never came to a comparison."""

from __future__ import annotations

from collections.abc import Iterator

from service.report.findings import Findings, Served
from service.report.html import Cell, Markup, bullets, code, definitions, estimate, number, paragraph, plain, table

VERDICTS = {"kept": "kept", "exceeded": "exceeded", "open": "cannot be told"}


def summarise(findings: Findings) -> Iterator[Markup]:
    """Write what comes first: the rates asked for, failures, the worst groups."""
    served = [each for each in findings.served if _is_asked(findings, each)]
    rows: list[list[Cell]] = [[number(each.asked), verdict(each.verdict), each.fmr, each.fnmr] for each in served]
    yield table(["FMR asked", "promise", "FMR observed", "FNMR observed"], rows)
    lines = [Markup(f"{plain(each.of.capitalize())}: {estimate(each.rate)}.") for each in findings.acquisition[:2]]
    if findings.equal_error is not None:
        lines.append(Markup(f"Equal error rate: {number(findings.equal_error)}."))
    lines += [
        plain(
            f"By {groups.attribute}, at {number(groups.asked)}: the highest FMR has {unequal.worst}, "
            f"{unequal.over_geometric_mean:.2g} times the geometric mean of {unequal.groups} groups."
        )
        for groups in findings.groups
        if (unequal := groups.fmr_inequality) is not None
    ]
    yield bullets(lines)
    yield paragraph(
        "Rates are shares: 0.01 is one in a hundred. In brackets are 95 % intervals. The last section says what must "
        "not be concluded."
    )


def _is_asked(findings: Findings, served: Served) -> bool:
    """Whether a rate is one of those that the report was made for."""
    wanted_rates = {each.wanted for each in findings.advice}
    return not wanted_rates or served.asked in wanted_rates


def describe(findings: Findings) -> Iterator[Markup]:
    """Write what was measured on what."""
    subject = findings.subject
    rows: list[tuple[str, str]] = [
        ("source", Markup(code(subject.source))),
        ("model", Markup(f"{plain(subject.model)} {code(subject.model_sha256)}")),
        ("embedding space", code(subject.space)),
        ("score", plain(subject.score)),
    ]
    if subject.digest is not None:
        rows.insert(1, ("digest of the photographs", code(subject.digest)))
    if subject.detector is not None:
        rows.append(("detector", Markup(f"{plain(subject.detector)} {code(subject.detector_sha256 or '')}")))
    rows += [(name, value) for name, value in subject.settings.items()]
    rows += [(name, f"{count:,}") for name, count in findings.counts.items()]
    rows += [
        ("seed", str(subject.seed)),
        ("rounds of the bootstrap", str(subject.rounds)),
        ("facet", subject.facet),
        ("made", subject.made_at),
        ("command", code(subject.command)),
    ]
    yield definitions(rows)
    if findings.coverage:
        heads = list(next(iter(findings.coverage.values())))
        yield table(
            ["decision", *heads],
            [[name, *(row[head] for head in heads)] for name, row in findings.coverage.items()],
            "Decisions by what was told of them",
        )


def describe_failures(findings: Findings) -> Iterator[Markup]:
    """Write how often photographs gave no template, or would not be enrolled, and why."""
    yield paragraph(
        "A photograph fails to be acquired when it cannot be read or shows no face: a verification with it ends in an "
        "error. It fails to be enrolled when enrolment, as it is by default, refuses it: no face, several, or an unfit "
        "one. A person fails when none of their photographs would be taken."
    )
    yield table(["", "rate", "of"], [[each.of, each.rate, each.rate.trials] for each in findings.acquisition])
    for each in findings.acquisition:
        if each.reasons:
            yield table(["reason", "photographs"], [[name, count] for name, count in each.reasons.items()], each.of)


def verdict(word: str) -> Markup:
    """Say whether a promise holds, in a colour of its own."""
    return Markup(f'<span class="{word}">{VERDICTS[word]}</span>')
