"""Fetching a model file: resumable, checked against its digest, and complete or absent."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from service.face.errors import ModelDigestMismatch, ModelInvalid, ModelNotFound
from service.face.registry import sha256_of

CHUNK = 1 << 16
Progress = Callable[[int, int | None], None]


def download(url: str, sha256: str, target: Path, progress: Progress | None = None, timeout: float = 30.0) -> Path:
    """Download `url` to `target`; what an earlier attempt left in `target`.part is continued.

    A redirect from https to http is not followed. `progress(done, total)` is called in bytes. The file appears at
    `target` only once its SHA-256 agrees.

    Raises: ModelInvalid (not http or https, or redirected from one to the other), ModelNotFound (no answer, or cut
    short: call again to resume), ModelDigestMismatch (the partial file is removed).
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ModelInvalid("only http and https addresses can be pulled")
    if target.is_file() and sha256_of(target) == sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    if not (have and sha256_of(part) == sha256):
        _fetch(url, part, have, progress, timeout)
    digest = sha256_of(part)
    if digest != sha256:
        part.unlink()
        raise ModelDigestMismatch(f"{url} gave a file with sha256 {digest}, expected {sha256}")
    part.replace(target)
    return target


class _KeepSecure(urllib.request.HTTPRedirectHandler):
    """Follows no redirect from https to anything else: who can change what comes by http could go on in its place."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request that follows, where one may. Raises: ModelInvalid."""
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise ModelInvalid(f"{req.full_url} redirects from https to {newurl}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, part: Path, have: int, progress: Progress | None, timeout: float) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        with urllib.request.build_opener(_KeepSecure).open(request, timeout=timeout) as answer:
            if have and answer.status != HTTPStatus.PARTIAL_CONTENT:
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with part.open("ab" if have else "wb") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    if progress:
                        progress(have, total)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
        raise ModelNotFound(f"{url} answered {error.code}") from error
    except (OSError, ValueError, HTTPException) as error:
        raise ModelNotFound(f"{url} could not be read: {error}; call again to resume") from error
    if total is not None and have < total:
        raise ModelNotFound(f"{url} ended after {have} of {total} bytes; call again to resume")
