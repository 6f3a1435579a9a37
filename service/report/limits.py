"""What these data cannot say: written from the data, since a report is read by who was not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from service.face.score import ThresholdTable
from service.measures.resampling import RULE_OF_3, RULE_OF_30, Resampled
from service.report.collect import Acquired
from service.report.findings import FEW_PEOPLE, Groups, Identification
from service.report.study import Study, count_contradictions

HEAVY_SHARE = 0.05
ALWAYS = (
    "Impostors are other people of these data, who make no effort. Twins, look-alikes chosen on purpose, masks, prints "
    "and screens (presentation attacks, ISO/IEC 30107-3) were not tried.",
    "These people, cameras, light and years are the only ones that the numbers speak for.",
    "Whether any of these people are in the data that the model was trained or calibrated on is not checked: compare "
    "with the sources that its card names.",
    "Nothing here tells how often a wrong identity label occurs. Look at the worst pairs first: a wrong label lifts "
    "FMR or FNMR as a wrong decision does.",
)


def list_limits(
    study: Study,
    acquired: Acquired,
    data: Resampled,
    table: ThresholdTable,
    counts: Mapping[str, int],
    groups: Sequence[Groups],
    identification: Sequence[Identification],
) -> tuple[str, ...]:
    """Say what cannot be concluded, the weightiest first."""
    return (
        *_of_errors(data, counts),
        *_of_labels(study, acquired, data, table),
        *_of_groups(groups),
        *_of_searches(study, identification),
        *ALWAYS,
    )


def _of_errors(data: Resampled, counts: Mapping[str, int]) -> Iterator[str]:
    impostors, genuine = len(data.pairs.impostor), len(data.pairs.genuine)
    people = counts["people compared"]
    if impostors:
        yield (
            f"{impostors:,} impostor comparisons: with no false match among them the FMR would be below "
            f"{RULE_OF_3 / impostors:.1e} at 95 % confidence (rule of 3); a rate is known to within 30 % only from "
            f"{RULE_OF_30 / impostors:.1e} up (rule of 30). Comparisons that share people are not independent: "
            f"they are of {people:,} people, so both limits are higher in truth."
        )
    else:
        yield "There is no impostor comparison: FMR, DET, FPIR and the promise cannot be measured."
    if genuine:
        yield (
            f"{genuine:,} genuine comparisons: an FNMR below {RULE_OF_3 / genuine:.1e} cannot be shown, "
            f"and is known to within 30 % only from {RULE_OF_30 / genuine:.1e} up."
        )
        owners = np.bincount(data.pairs.owner)
        if (share := owners.max() / genuine) > HEAVY_SHARE:
            yield (
                f"One person has {share:.0%} of the genuine comparisons, and {np.count_nonzero(owners)} people have "
                "all of them: FNMR is mostly theirs. Its interval is by person and allows for that."
            )
    else:
        yield "Nobody has two photographs with a face: FNMR, DET, discard and FNIR cannot be measured."
    if people < FEW_PEOPLE:
        yield (
            f"{people} people are few: below {FEW_PEOPLE} intervals by person are too narrow, and nothing is said of "
            "the promise."
        )
    left_out = counts["templates"] - counts["templates compared"]
    if left_out:
        yield f"{left_out:,} photographs were not compared, to bound the work: people were drawn by the seed."


def _of_labels(study: Study, acquired: Acquired, data: Resampled, table: ThresholdTable) -> Iterator[str]:
    if not study.named:
        yield (
            "The protocol names nobody: photographs that genuine pairs join count as one person's. Somebody who is in "
            "it under two such names makes the intervals too narrow, and galleries cannot be searched."
        )
    if study.pairs is not None:
        yield "Only the listed pairs were compared. How they were chosen decides the rates as much as the model does."
        if contradictions := count_contradictions(study):
            yield f"{contradictions} impostor pairs are of photographs that other pairs call one person's."
    if acquired.copies_across:
        yield (
            f"{acquired.copies_across} photographs are, byte for byte, also another person's: "
            "labels are wrong, and count as false matches."
        )
    if acquired.copies_within:
        yield f"{acquired.copies_within} photographs are copies of another of the same person: FNMR is too low."
    if len(data.pairs.impostor) and len(table.rates):
        strictest = table.at(table.rates[-1])
        above = int((data.pairs.impostor >= strictest.value).sum())
        if above > max(RULE_OF_3, RULE_OF_3 * table.rates[-1] * len(data.pairs.impostor)):
            yield (
                f"{above:,} impostor comparisons reach the threshold of FMR {table.rates[-1]:g}, where "
                f"{table.rates[-1] * len(data.pairs.impostor):.1f} are expected: one person under two names, or people "
                "whom the model cannot tell apart. The ids of the highest are listed."
            )


def _of_groups(groups: Sequence[Groups]) -> Iterator[str]:
    for attribute in dict.fromkeys(each.attribute for each in groups):
        mine = [each for each in groups if each.attribute == attribute]
        weak = dict.fromkeys(
            f"{group.name} at {each.asked:g}"
            for each in mine
            for group in each.groups
            if group.fmr is None or each.asked * group.fmr.trials < RULE_OF_30
        )
        if weak:
            yield (
                f"By {attribute}: fewer than {RULE_OF_30} false matches are expected of {', '.join(weak)}. Where none "
                "are observed, that is no sign of a low rate; the worst over the geometric mean then rests on chance."
            )
        if mine[0].unsaid:
            yield f"By {attribute}: of {mine[0].unsaid:,} photographs nothing is said; they are in no group."
    yield (
        "The FMR over all is of strangers of every kind with one another. Within one sex, age or ancestry strangers "
        "resemble each other more, and more of them match: what holds over all need not hold there."
    )
    if groups:
        yield "Groups are as the labels say; who labelled them, and how well, is not known here."
    else:
        yield "No groups were given: whether the rates hold for every kind of person was not measured."


def _of_searches(study: Study, identification: Sequence[Identification]) -> Iterator[str]:
    if not identification:
        if study.named:
            yield "Fewer than two people, or too many photographs: no gallery was searched."
        return
    largest = identification[0].galleries[-1]
    yield (
        f"Galleries have at most {largest.size:,} people, half of those there are, each with one photograph. "
        "FNIR and FPIR of larger ones do not follow from these."
    )
    measured = [each.fnir is not None for each in identification[0].galleries]
    if any(measured) and not all(measured):
        yield "Small galleries hold nobody with a second photograph: there FNIR is not measured."
