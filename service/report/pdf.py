"""The page as PDF, printed by Chromium where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from service.errors import FacetError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MOST_SECONDS = 300


class PdfFailed(FacetError):
    """Chromium did not print the page."""

    code = "pdf_failed"


def find_browser() -> str | None:
    """The path of a Chromium, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)


def print_pdf(browser: str, page: str, target: Path) -> None:
    """Print a page of HTML that stands alone.

    Raises:
        PdfFailed: The browser did not.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, printed = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(page, encoding="utf-8")
        words = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/profile"]
        words += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root; the page has no script
        words += [f"--print-to-pdf={printed}", source.as_uri()]
        try:
            run = subprocess.run(words, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PdfFailed(f"{browser} did not print the report: {error}") from error
        if run.returncode or not printed.is_file():
            raise PdfFailed(f"{browser} did not print the report: {run.stderr.strip()[-500:]}")
        target.write_bytes(printed.read_bytes())
