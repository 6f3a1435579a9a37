"""What can stop work on many photographs; only a command line sees it."""

from __future__ import annotations

from service.errors import FacetError


class BulkError(FacetError):
    """Something keeps the whole work from going on."""

    code = "bulk_error"


class ListInvalid(BulkError):
    """The folder or the list cannot be read as one of people or pairs."""

    code = "list_invalid"


class RecordForeign(BulkError):
    """The record of what is done already is damaged, or of other work."""

    code = "record_foreign"


class ServerRefused(BulkError):
    """The service refuses whatever is asked: the key, the collection or the model is wrong."""

    code = "server_refused"


class ServerUnreachable(BulkError):
    """The service does not answer, or not for too long."""

    code = "server_unreachable"
