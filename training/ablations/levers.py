"""What can be changed in a recipe to see what it is worth: one lever at a time.

A lever's changes are laid over a recipe's values: a mapping over a mapping goes on key by key, a mapping over a list
item by item (numbered from 0), `None` takes a key or an item away, `Times` multiplies, anything else takes the place of
what was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.errors import RecipeInvalid


@dataclass(frozen=True, slots=True)
class Times:
    """Multiply the number that stands there; a whole number stays one."""

    factor: float


@dataclass(frozen=True, slots=True)
class Lever:
    """One change: `what` says in the table how the row differs from the recipe."""

    what: str
    changes: Mapping[str, Any] = field(default_factory=dict)


BASE = "base"
NOTHING = 0.0

LEVERS: dict[str, Lever] = {
    BASE: Lever("the recipe as it is"),
    "seed": Lever("another seed: what chance does", {"seed": 101}),
    "relations-off": Lever("no relations: the cosine with the target alone", {"terms": {1: None}}),
    "degradations-off": Lever(
        "no degradations: warp and light alone",
        {
            "augment": {
                **dict.fromkeys(("low_resolution", "blur", "jpeg", "grey", "motion", "noise", "dark"), NOTHING),
                **dict.fromkeys(("mask", "roll"), NOTHING),
            }
        },
    ),
    "masks-off": Lever("no painted masks", {"augment": {"mask": NOTHING}}),
    "generated": Lever("generated faces added", {"data": {"sets": {"gen": 1.0}}}),
    "rate-double": Lever("learning rate x2", {"schedule": {"peak": Times(2)}}),
    "ema-off": Lever("no averaged weights", {"schedule": {"ema": None}}),
    "teacher-start": Lever(
        "begun with the teacher's own weights",
        {"init": {"kind": "teacher", "teacher": "omz", "weights": None, "settle": 128, "regress": {"teacher": "pair"}}},
    ),
    "scarce-off": Lever("no weighting of scarce kinds", {"data": {"scarce": None}}),
    "rate-half": Lever("learning rate x0.5", {"schedule": {"peak": Times(0.5)}}),
    "camera-off": Lever(
        "no motion blur, noise or darkness", {"augment": dict.fromkeys(("motion", "noise", "dark"), NOTHING)}
    ),
    "roll-off": Lever("no roll", {"augment": {"roll": NOTHING}}),
    "fairface-off": Lever("without fairface540", {"data": {"sets": {"fairface540": None}}}),
    "batch-half": Lever("half the batch, twice the steps", {"schedule": {"batch": Times(0.5), "steps": Times(2)}}),
    "masks-double": Lever("twice the painted masks", {"augment": {"mask": Times(2)}}),
}


def lay(values: Any, changes: Any, where: str = "") -> Any:
    """Lay a lever's changes over a recipe's values; returns new values.

    Raises:
        RecipeInvalid: There is nothing to take away, to multiply or to go on in at a place, which is named.
    """
    if isinstance(changes, Times):
        if not isinstance(values, int | float):
            raise RecipeInvalid(f"{where}: there is no number to multiply")
        return type(values)(values * changes.factor)
    if not isinstance(changes, Mapping) or values is None:
        return changes
    if not isinstance(values, dict | list):
        raise RecipeInvalid(f"{where}: there is nothing to change in {values!r}")
    places = dict(values) if isinstance(values, dict) else dict(enumerate(values))
    for key, change in changes.items():
        place = f"{where}.{key}" if where else str(key)
        if change is None:
            if key not in places:
                raise RecipeInvalid(f"{place}: there is nothing to take away")
            del places[key]
        else:
            places[key] = lay(places.get(key), change, place)
    return places if isinstance(values, dict) else list(places.values())
