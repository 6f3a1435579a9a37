"""Measurements and reports as tables: Markdown for people, CSV for programs."""

from __future__ import annotations

from collections.abc import Sequence

from service.face.errors import ImageError
from service.rollout.offline.measure import RATES, Measurement, Rates
from service.rollout.report import Observed, Report, Share, Side

Rows = Sequence[Sequence[str]]


def model_rows(measurement: Measurement) -> Rows:
    """One row for each model, under a row of headings."""
    rates = [fmr for fmr in RATES if all(fmr in model.rates for model in measurement.models)]
    head = ["model", "score", "accuracy", *(f"TAR at FMR {fmr:g}" for fmr in rates)]
    head += ["ms per face, 1 thread", f"faces/s, {measurement.cores} cores", "memory, MB", "file, MB"]
    return [
        head,
        *(
            [
                model.name,
                model.score,
                percent(model.accuracy),
                *(percent(model.rates[fmr][0]) for fmr in rates),
                f"{model.milliseconds:.2f}",
                f"{model.faces_per_second:.1f}",
                f"{model.memory / 1e6:.1f}",
                f"{model.bytes / 1e6:.2f}",
            ]
            for model in measurement.models
        ),
    ]


def agreement_rows(measurement: Measurement) -> Rows:
    """One row for each two models, under a row of headings."""
    head = ["models", "pairs decided alike", "correlation of scores", "probes by the first, templates by the second"]
    return [
        head,
        *(
            [
                f"{pair.first}, {pair.second}",
                percent(pair.alike),
                f"{pair.correlation:.4f}",
                "another space" if pair.crossed is None else _strictest(pair.crossed),
            ]
            for pair in measurement.agreements
        ),
    ]


def measurement_markdown(measurement: Measurement) -> str:
    """The whole measurement."""
    parts = [
        f"{measurement.photographs} photographs, {_failures(measurement)}; {measurement.genuine_pairs} genuine and "
        f"{measurement.impostor_pairs} impostor pairs, decided at thresholds chosen on the other nine tenths; TAR over "
        f"all comparisons of the photographs ({measurement.impostor_comparisons} of impostors) where they support the "
        "rate. "
        "Scores are those that are served: cosines, or normalised where a model has a normalisation. "
        "In brackets 95 % Wilson intervals.",
        markdown(model_rows(measurement)),
    ]
    if measurement.agreements:
        parts.append(markdown(agreement_rows(measurement)))
    return "\n\n".join(parts) + "\n"


def _failures(measurement: Measurement) -> str:
    unreadable = sum(isinstance(failure.error, ImageError) for failure in measurement.failures)
    text = f"{len(measurement.failures) - unreadable} without a face found"
    return f"{text}, {unreadable} that cannot be read" if unreadable else text


def report_markdown(report: Report, champion: str, challenger: str | None) -> str:
    """A report of live comparisons."""
    names = champion if challenger is None else f"{champion} and {challenger}"
    parts = [f"# {names} on live requests", f"{report.cases} cases."]
    if not report.cases:
        parts.append("`--champion` and `--challenger` name other models than those of now.")
        return "\n\n".join(parts) + "\n"
    if report.challenger is not None:
        correlation = "-" if report.correlation is None else f"{report.correlation:.4f}"
        parts.append(f"Agreement {percent(report.agreement)}; correlation of scores {correlation}.")
        table = report.table
        parts.append(
            markdown(
                [
                    ["", f"{challenger} matches", "does not"],
                    [f"{champion} matches", str(table[True, True]), str(table[True, False])],
                    ["does not", str(table[False, True]), str(table[False, False])],
                ]
            )
        )
    sides: list[tuple[str, Side]] = [(champion, report.champion)]
    if report.challenger is not None and challenger is not None:
        sides.append((challenger, report.challenger))
    head = ["milliseconds", *(name for name, _ in sides)]
    quantiles = list(report.champion.seconds)
    parts.append(
        markdown([head, *([q, *(f"{side.seconds.get(q, 0) * 1000:.1f}" for _, side in sides)] for q in quantiles)])
    )
    observed = [(name, each) for name, side in sides for each in side.observed]
    if observed:
        parts.append(
            markdown(
                [
                    ["model", "decisions", "false matches", "promised", "false non-matches"],
                    *(_observed_row(name, each) for name, each in observed),
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def percent(share: Share) -> str:
    """A share with its interval."""
    if share.value is None or share.ci95 is None:
        return "-"
    low, high = share.ci95
    return f"{share.value:.2%} [{low:.2%}, {high:.2%}]"


def markdown(rows: Rows) -> str:
    """Rows as a Markdown table; the first is the heading."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _strictest(rates: Rates) -> str:
    if not rates:
        return "too few impostors"
    fmr = min(rates)
    share, threshold = rates[fmr]
    return f"TAR {percent(share)} at FMR {fmr:g}, threshold {threshold:.4f}"


def _observed_row(name: str, observed: Observed) -> list[str]:
    promised = "-" if observed.promised is None else f"{observed.promised:.3%}"
    misses, matches = observed.false_non_matches, observed.false_matches
    return [
        name,
        observed.route,
        f"{percent(matches)} of {matches.trials}",
        promised,
        f"{percent(misses)} of {misses.trials}",
    ]
