"""A model folder gains a cohort's normalisation, a gate where its network has none, and thresholds of the new score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import NORMALISATION
from service.face.embedding.recognisability import RECOGNISABILITY
from service.face.manifest import Manifest, NormalisationSpec, RecognisabilitySpec, Result, load_manifest
from service.face.registry import MANIFEST, Registry
from training.atomic_folder import digest_file
from training.data.crops import CropSet, open_set, open_sets
from training.errors import PublishRefused
from training.evaluation.subgroups import evaluate_groups
from training.evaluation.thresholds.cross_model import calibrate_all
from training.evaluation.vectors import Model, open_model
from training.export.amend import amend, with_thresholds, write_thresholds
from training.export.publish import describe_results
from training.export.release import GROUPS_FMR, SPEED, calibrate_on
from training.normalisation.cohort import Cohort, CohortPlan, gather_cohort
from training.normalisation.graphs import write_normalisation, write_perceptron
from training.normalisation.once import Once
from training.normalisation.recognisability import Gate, GatePlan, choose_gate
from training.recipe import Roots

COSINES = ", cosines"
"""What ends the protocol of a result that was measured before scores were normalised."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a model gained."""

    cohort: Cohort
    gate: Gate
    manifest: Manifest


def equip(folder: Path, sets: Sequence[CropSet], roots: Roots, plan: CohortPlan, gate: GatePlan) -> Equipment:
    """Gather a cohort for the model in a folder, and write its normalisation and its gate there.

    Thresholds are dropped: they were of another score. A model whose graph tells its confidence keeps that measure and
    gains the cut only.

    Raises:
        PublishRefused: The folder is no embedder's.
        SetInvalid: The sets are too small.
    """
    model = _embedder(open_model(str(folder), roots))
    once = Once(model)
    cohort = gather_cohort(once, sets, plan)
    chosen_gate = choose_gate(once, sets, gate)
    strength = cohort.strength.value

    def change(draft: Path, manifest: Manifest) -> Manifest:
        write_normalisation(draft / NORMALISATION, cohort.centres, plan.nearest, strength, cohort.ordinary)
        if chosen_gate.layers:
            write_perceptron(draft / RECOGNISABILITY, chosen_gate.layers)
        else:
            (draft / RECOGNISABILITY).unlink(missing_ok=True)
        changes = {
            "normalisation": NormalisationSpec(
                sha256=digest_file(draft / NORMALISATION),
                nearest=plan.nearest,
                strength=strength,
                cohort=len(cohort.centres),
                data=cohort.data,
            ),
            "recognisability": RecognisabilitySpec(
                sha256=digest_file(draft / RECOGNISABILITY) if chosen_gate.layers else None, cut=chosen_gate.cut
            ),
        }
        bare = manifest.model_copy(update={"thresholds": (), "tail": ()})
        return with_thresholds(bare.model_copy(update=changes), None)

    sections = {"Score normalisation": describe_cohort(cohort, plan), "Recognisability": describe_gate(chosen_gate)}
    return Equipment(cohort, chosen_gate, amend(folder, change, lambda _: sections | {"Thresholds": "None yet."}))


def equip_all(
    models: Path,
    roots: Roots,
    sets: Sequence[str],
    people: str,
    plan: CohortPlan | None = None,
    groups: str | None = None,
) -> list[Manifest]:
    """Equip every embedder in a folder of models, and measure its thresholds and those of every two of one space.

    Args:
        models: The folder of models; theirs are replaced, each whole.
        roots: Where the prepared sets lie.
        sets: Of which the cohorts are made.
        people: The prepared set of other people that gives the thresholds.
        plan: How the cohorts are made; None chooses each model's strength by rule.
        groups: A prepared set with UTKFace's labels, on whose held-out pictures the subgroups are measured.

    Raises:
        TrainingError, ModelError: A set or a model is not there, or too small.
    """
    manifests = []
    for folder in Registry.scan([models]).folders("embedder"):
        equip(folder.path, open_sets(roots.data, sets), roots, plan or CohortPlan(), GatePlan())
        opened = open_model(str(folder.path), roots)
        manifest = write_thresholds(folder.path, opened, calibrate_on(opened, roots, people)[1])
        manifests.append(
            manifest if groups is None else tell_served(folder.path, opened, open_set(roots.data / groups))
        )
    calibrate_all(models, roots, people)
    return manifests


def tell_served(folder: Path, model: Model, labelled: CropSet) -> Manifest:
    """Measure the subgroups by the score that is served, and say of earlier results that they are of cosines.

    Raises:
        PublishRefused: The folder has no threshold for the rate at which subgroups are told.
        ProtocolInvalid: The set's files carry no labels.
    """
    served = next((row.threshold for row in load_manifest(folder / MANIFEST).thresholds if row.fmr == GROUPS_FMR), None)
    if served is None:
        raise PublishRefused(f"{folder} has no threshold for FMR {GROUPS_FMR:g}: `facet-train calibrate` measures it")
    report = evaluate_groups(labelled.name, labelled, GROUPS_FMR, model, threshold=served, held_out=True)

    def change(_: Path, manifest: Manifest) -> Manifest:
        earlier = (_of_cosines(row) for row in manifest.results if row.protocol != report.protocol)
        results = (*earlier, *report.rows)
        return manifest.model_copy(update={"results": results})

    def tell(manifest: Manifest) -> Mapping[str, str]:
        return {"Results": describe_results(manifest), "False match rates by subgroup": str(report.details["table"])}

    return amend(folder, change, tell)


def _of_cosines(row: Result) -> Result:
    """The same result, its protocol naming the score where it is one of scores."""
    if row.protocol.endswith(COSINES) or row.protocol == SPEED:
        return row
    return row.model_copy(update={"protocol": row.protocol + COSINES})


def describe_cohort(cohort: Cohort, plan: CohortPlan) -> str:
    """The card's section on the cohort."""
    kinds = "\n".join(f"| {name} | {count} |" for name, count in cohort.kinds.items())
    return (
        "A score is the cosine of two templates, shifted by what each scores with strangers like it:\n"
        f"`-{cohort.strength.value:g} / 2` times the mean score with the {plan.nearest} nearest of"
        f" {len(cohort.centres)} centres\nbeyond {cohort.ordinary:.4f}. Each centre is the mean direction of at least"
        f" {plan.least} of {cohort.faces} faces; no face's\nown template is in the file. Made of"
        f" {', '.join(cohort.data)}:\n\n"
        f"| kind | faces |\n|---|---|\n{kinds}\n\n{describe_strength(cohort, plan)}\n\n"
        "A kind that is not among these is not protected."
    )


def describe_strength(cohort: Cohort, plan: CohortPlan) -> str:
    """How the strength was chosen, with the kinds that it was chosen on."""
    if not cohort.strength.kinds:
        return f"The strength, {cohort.strength.value:g}, was given."
    kinds = "\n".join(f"| {name} | {multiple:.2f} |" for name, multiple in cohort.strength.kinds.items())
    return (
        f"{cohort.strength.value:g} is the least strength at which no kind of faces outside the cohort matches over"
        f" {plan.kept:g} times\nas often as asked, at FMR {plan.fmr:g}:\n\n| kind | observed / asked |\n"
        f"|---|---|\n{kinds}"
    )


def describe_gate(gate: Gate) -> str:
    """The card's section on what is unrecognisable."""
    kinds: Mapping[str, Any] = gate.refused
    rows = "\n".join(f"| {name} | {share:.1%} |" for name, share in kinds.items())
    return (
        f"A face below {gate.cut:.3f} is `unrecognisable`. Good pictures that this cut turns away, by kind, of those\n"
        f"that the measure was not fitted to:\n\n| kind | turned away |\n|---|---|\n{rows}"
    )


def _embedder(model: Model) -> Embedder:
    if not isinstance(model.embeds, Embedder):
        raise PublishRefused(f"{model.name} is not the folder of a published embedder")
    return model.embeds
