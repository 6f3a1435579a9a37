"""A published model folder gains what is measured or made after its network: normalisation, gate, thresholds.

The folder is replaced whole: graph, manifest and card always belong together.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from service.face.errors import ModelError
from service.face.manifest import CalibratedThreshold, Manifest, TailThreshold, dump_manifest, load_manifest
from service.face.registry import CARD, MANIFEST, ModelFolder
from training.atomic_folder import whole_folder
from training.errors import PublishRefused
from training.evaluation.vectors import Model
from training.export.publish import describe_thresholds


def amend(
    folder: Path,
    changes: Callable[[Path, Manifest], Manifest],
    sections: Callable[[Manifest], Mapping[str, str]] = lambda _: {},
) -> Manifest:
    """Change a model folder; returns its new manifest.

    `changes` gets a copy of the folder and its manifest, may write files there, and returns the new manifest.
    `sections` gives sections of the card by their titles, which replace those of the same title.

    Raises:
        PublishRefused: The folder is not a model's, or would no longer be one.
    """
    try:
        manifest = load_manifest(folder / MANIFEST)
    except ModelError as error:
        raise PublishRefused(f"{folder}: {error}") from error
    with whole_folder(folder, MANIFEST) as draft:
        for file in folder.iterdir():
            if file.is_file():
                shutil.copyfile(file, draft / file.name)
        changed = changes(draft, manifest)
        (draft / MANIFEST).write_text(dump_manifest(changed), encoding="utf-8")
        card = (draft / CARD).read_text(encoding="utf-8")
        for title, text in sections(changed).items():
            card = put_section(card, title, text)
        (draft / CARD).write_text(card, encoding="utf-8")
        try:
            ModelFolder(load_manifest(draft / MANIFEST), draft).embedder()
        except ModelError as error:
            raise PublishRefused(f"{folder}: {error}") from error
    return changed


def put_section(card: str, title: str, text: str) -> str:
    """Put a section `## title` into a Markdown card: in its old place, or before `## Limits`, or at the end."""
    block = f"## {title}\n\n{text.strip()}\n"
    parts = card.split("\n## ")
    names = [part.split("\n", 1)[0] for part in parts]
    sections = [parts[0].rstrip() + "\n", *(f"## {part.rstrip()}\n" for part in parts[1:])]
    if title in names[1:]:
        sections[names.index(title, 1)] = block
    else:
        sections.insert(names.index("Limits", 1) if "Limits" in names[1:] else len(sections), block)
    return "\n".join(sections)


def write_thresholds(folder: Path, model: Model, calibration: Mapping[str, Any]) -> Manifest:
    """Put what `calibrate_on` found for a model into its folder.

    Raises:
        PublishRefused: It is of another model, or of another score.
    """

    def change(_: Path, manifest: Manifest) -> Manifest:
        if calibration["digest"] != manifest.sha256 or calibration["score"] != manifest.computed_score:
            raise PublishRefused(f"{folder} holds {manifest.identity}, measured was {model.name}")
        return with_thresholds(manifest, calibration)

    return amend(folder, change, lambda manifest: {"Thresholds": describe_thresholds(manifest, calibration)})


def with_thresholds(manifest: Manifest, calibration: Mapping[str, Any] | None) -> Manifest:
    """A manifest with the thresholds of a calibration of its score, or with none."""
    fields = calibration or {"thresholds": (), "tail": (), "score": manifest.computed_score}
    values = manifest.model_dump(by_alias=True)
    values |= {
        "thresholds": [CalibratedThreshold.model_validate(row) for row in fields["thresholds"]],
        "tail": [TailThreshold.model_validate(row) for row in fields["tail"]],
        "score": fields["score"],
    }
    return Manifest.model_validate(values)
