"""The console at `/`, and the API's documentation at `/docs`; nothing comes from anywhere else."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from service.api.openapi_document import Bodies

WEB = Path(__file__).parents[2] / "web"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOCS_POLICY = PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI writes style attributes."""

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
async def page() -> FileResponse:
    """The console."""
    return FileResponse(WEB / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})


@router.head("/docs")
@router.get("/docs")
async def docs() -> FileResponse:
    """Swagger UI."""
    return FileResponse(WEB / "docs.html", headers={"Content-Security-Policy": DOCS_POLICY})


@router.get("/openapi.json")
def openapi(request: Request, bodies: Bodies = Bodies.ALL) -> Response:
    """The OpenAPI document."""
    return Response(request.app.state.document.read(bodies), media_type="application/json")


def mount_files(app: FastAPI) -> None:
    """Serve the scripts and styles of both pages."""
    app.mount("/web", StaticFiles(directory=WEB), name="web")
    app.mount("/swagger", StaticFiles(directory=SWAGGER), name="swagger")
