"""What can stand in the way of trying models and of changing them.

::

    FacetError
    `-- RolloutError
        |-- ChampionUnavailable
        |-- RolesInvalid, ChallengerMissing, NothingToRollBack, CoverageMissing
        |-- ModelRefused, ModelInUse
        `-- DecisionNotFound
"""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import FacetError


class RolloutError(FacetError):
    """The root of what trying and changing models raises."""

    code = "comparison_error"


class ChampionUnavailable(RolloutError):
    """The model that the database names champion is not loaded in this process."""

    code = "champion_unavailable"
    retry_after = 5


class RolesInvalid(RolloutError):
    """One model in both roles."""

    code = "roles_invalid"


class ChallengerMissing(RolloutError):
    """There is no challenger to promote or to compare with."""

    code = "challenger_missing"

    def __init__(self) -> None:
        super().__init__("there is no challenger: name one with PUT /v1/roles")


class NothingToRollBack(RolloutError):
    """The champion has never changed."""

    code = "nothing_to_roll_back"

    def __init__(self) -> None:
        super().__init__("the champion was never changed, so there is nothing to go back to")


class CoverageMissing(RolloutError):
    """People are enrolled whom the new champion could not find; `faces` says how many in which collection."""

    code = "coverage_missing"

    def __init__(self, model: str, faces: Mapping[str, int]) -> None:
        self.faces = dict(faces)
        named = ", ".join(f"{count} faces of {name!r}" for name, count in list(self.faces.items())[:5])
        super().__init__(
            f"{model} has no template, and no model of its space has one, of {named}: nobody could find them. "
            "Enrol them with this model loaded, or erase them, then try again"
        )


class ModelRefused(RolloutError):
    """A model's folder does not pass the checks that a start makes; the message says which."""

    code = "model_refused"


class ModelInUse(RolloutError):
    """A model that answers, is tried, or gets templates made cannot be unloaded."""

    code = "model_in_use"


class DecisionNotFound(RolloutError):
    """No decision is kept under this request id: it was not sampled, or its time is up."""

    code = "decision_not_found"

    def __init__(self) -> None:
        super().__init__("no decision is kept under this request id: it was not sampled, or its time is up")
