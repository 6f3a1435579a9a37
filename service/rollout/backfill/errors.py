"""What can stand in the way of making templates again and of dropping old ones.

::

    FacetError
    `-- ReembeddingError
        |-- ReembeddingRunning, ReembeddingNotFound, ReembeddingEnded
        `-- TemplatesNeeded
"""

from __future__ import annotations

from service.errors import FacetError


class ReembeddingError(FacetError):
    """The root of what making templates again raises."""

    code = "reembedding_error"


class ReembeddingRunning(ReembeddingError):
    """Templates of this model are being made there already."""

    code = "reembedding_running"


class ReembeddingNotFound(ReembeddingError):
    """There is no job of this id."""

    code = "reembedding_not_found"

    def __init__(self, job_id: str) -> None:
        """Name the job by its id."""
        super().__init__(f"no job {job_id!r}: see GET /v1/reembeddings")


class ReembeddingEnded(ReembeddingError):
    """The job is done or cancelled: there is nothing to cancel."""

    code = "reembedding_ended"


class TemplatesNeeded(ReembeddingError):
    """The champion searches these templates: they cannot be dropped."""

    code = "templates_needed"
