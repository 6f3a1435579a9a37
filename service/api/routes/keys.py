"""The key that asks. Keys are made and revoked by the command `facet keys`, beside the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from service.api.access import Caller, allow
from service.api.route_declarations import CALLER, STORE, problems
from service.api.schemas import keys as replies

router = APIRouter(prefix="/v1", tags=["keys"])


@router.get("/key", summary="Read the calling key", responses=problems(*CALLER, *STORE))
async def read_key(caller: Annotated[Caller, Depends(allow(None))]) -> replies.CallingKey:
    """What the key of this request may do, in which collections, and until when."""
    return replies.CallingKey.of(caller.key)
