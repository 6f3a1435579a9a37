"""What can go wrong while a model is made.

::

    TrainingError
    |-- RecipeInvalid          a recipe that is missing, misspelt or contradicts itself
    |-- DataError              SetMissing, SetInvalid, PackInvalid
    |-- TeacherError           TeacherMissing, TeacherMismatch
    |-- InitialisationFailed   too few tensors match
    |-- FitError               LossNotFinite, CheckpointInvalid
    |-- ProtocolInvalid        an evaluation set that is incomplete or contradicts itself
    |-- RateUnsupported        a false match rate that the data cannot support
    |-- ExportFailed           the exported graph disagrees with the network
    `-- PublishRefused         a model folder that would be incomplete or would overwrite another
"""

from __future__ import annotations

from typing import ClassVar


class TrainingError(Exception):
    """An expected failure: the message says what is wrong and what to do about it."""

    code: ClassVar[str] = "training_error"


class RecipeInvalid(TrainingError):
    code = "recipe_invalid"


class DataError(TrainingError):
    code = "data_error"


class SetMissing(DataError):
    code = "set_missing"


class SetInvalid(DataError):
    code = "set_invalid"


class PackInvalid(DataError):
    code = "pack_invalid"


class TeacherError(TrainingError):
    code = "teacher_error"


class TeacherMissing(TeacherError):
    code = "teacher_missing"


class TeacherMismatch(TeacherError):
    code = "teacher_mismatch"


class InitialisationFailed(TrainingError):
    code = "initialisation_failed"


class FitError(TrainingError):
    code = "fit_error"


class LossNotFinite(FitError):
    code = "loss_not_finite"


class CheckpointInvalid(FitError):
    code = "checkpoint_invalid"


class ProtocolInvalid(TrainingError):
    code = "protocol_invalid"


class RateUnsupported(TrainingError):
    code = "rate_unsupported"


class ExportFailed(TrainingError):
    code = "export_failed"


class PublishRefused(TrainingError):
    code = "publish_refused"
