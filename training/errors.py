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
    |-- FolderTaken            a folder that is to be written holds something else
    `-- PublishRefused         a model folder that would be incomplete or would overwrite another
"""

from __future__ import annotations

from typing import ClassVar


class TrainingError(Exception):
    """An expected failure: the message says what is wrong and what to do about it."""

    code: ClassVar[str] = "training_error"


class RecipeInvalid(TrainingError):
    """The recipe is missing, misspelt or contradicts itself."""

    code = "recipe_invalid"


class DataError(TrainingError):
    """A set is missing or damaged."""

    code = "data_error"


class SetMissing(DataError):
    """There is no such set or file."""

    code = "set_missing"


class SetInvalid(DataError):
    """A set is damaged or does not hold what is needed."""

    code = "set_invalid"


class PackInvalid(DataError):
    """The pack cannot be read."""

    code = "pack_invalid"


class TeacherError(TrainingError):
    """A teacher is missing or does not fit."""

    code = "teacher_error"


class TeacherMissing(TeacherError):
    """There is no such teacher."""

    code = "teacher_missing"


class TeacherMismatch(TeacherError):
    """A teacher's output does not fit."""

    code = "teacher_mismatch"


class InitialisationFailed(TrainingError):
    """Too few tensors match."""

    code = "initialisation_failed"


class FitError(TrainingError):
    """A run cannot go on."""

    code = "fit_error"


class LossNotFinite(FitError):
    """A loss or gradient is not finite."""

    code = "loss_not_finite"


class CheckpointInvalid(FitError):
    """There is no checkpoint, or it does not fit."""

    code = "checkpoint_invalid"


class ProtocolInvalid(TrainingError):
    """The evaluation set is incomplete or contradicts itself."""

    code = "protocol_invalid"


class RateUnsupported(TrainingError):
    """The data cannot support a false match rate."""

    code = "rate_unsupported"


class ExportFailed(TrainingError):
    """The exported graph disagrees with the network."""

    code = "export_failed"


class FolderTaken(TrainingError):
    """A folder that is to be written holds something else, which would be lost."""

    code = "folder_taken"


class PublishRefused(TrainingError):
    """The model folder would be incomplete or overwrite another."""

    code = "publish_refused"
