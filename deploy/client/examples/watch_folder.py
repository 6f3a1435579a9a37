"""Identify whoever is on the photographs that arrive in a folder, until interrupted or stopped.

    FACET_KEY=facet_... python watch_folder.py arrivals --done arrivals/done

Each photograph gives a line of JSON. A file counts as whole once its size has stayed the same from one look to the
next. With --done a photograph that was decided on, or refused for what it is, is then moved away, so that a new start
does not ask about it again. Where the service is busy, fails or is away the photograph stays, and is asked about again;
where it would refuse every one, for the key or the collection say, this ends.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from facet_client import Facet, FacetError, Problem, errors

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
FOR_EVERY_ONE = (errors.Unauthorised, errors.Forbidden, errors.NotFound, errors.RequestInvalid)
"""Refusals that are not about a photograph."""


class Arrival(NamedTuple):
    """A file as it was seen: another that comes under its name is another arrival."""

    name: str
    size: int
    changed: int


def arrivals(folder: Path, every: float, past: set[Arrival]) -> Iterator[Arrival]:
    """Yield photographs that are none of the `past`, in the order of names, as soon as they are whole."""
    before: set[Arrival] = set()
    while True:
        present = set()
        for path in folder.iterdir():
            if path.suffix.lower() in SUFFIXES:
                with suppress(FileNotFoundError):  # it may be moved away at any time
                    state = path.stat()
                    if stat.S_ISREG(state.st_mode):
                        present.add(Arrival(path.name, state.st_size, state.st_mtime_ns))
        yield from sorted(each for each in (present & before) - past if each.size)
        before = present
        time.sleep(every)


def passes(error: FacetError) -> bool:
    """Whether the same photograph may well be taken later."""
    return not isinstance(error, Problem) or error.status in (408, 429) or error.status >= 500


def move(photograph: Path, folder: Path) -> None:
    """Move a photograph, and overwrite none that came under its name before."""
    target, number = folder / photograph.name, 1
    while target.exists():
        number += 1
        target = folder / f"{photograph.stem}-{number}{photograph.suffix}"
    shutil.move(photograph, target)


def main() -> None:
    """Ask about each photograph, and print what the service says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--collection", default="default")
    parser.add_argument("--done", type=Path, help="folder to move photographs to once they are answered")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stop by whoever started this, as Ctrl-C
    if arguments.done is not None:
        arguments.done.mkdir(parents=True, exist_ok=True)
    with Facet(arguments.address, os.environ.get("FACET_KEY")) as facet:
        past: set[Arrival] = set()
        for arrival in arrivals(arguments.folder, arguments.every, past):
            photograph = arguments.folder / arrival.name
            line: dict[str, object] = {"file": arrival.name}
            again = False
            try:
                answer = facet.identify(photograph, collection=arguments.collection, faces="all", top_k=1)
            except FileNotFoundError:
                continue
            except OSError as error:
                line["problem"] = error.strerror or str(error)
                again = True
            except FOR_EVERY_ONE as problem:
                raise SystemExit(str(problem)) from None
            except FacetError as error:
                line["problem"] = error.code if isinstance(error, Problem) else str(error)
                again = passes(error)
            else:
                line["faces"] = [
                    {
                        "decision": face.decision,
                        "subject": face.candidates[0].subject if face.decision == "match" else None,
                    }
                    for face in answer.faces
                ]
            print(json.dumps(line, ensure_ascii=False), flush=True)
            if not again:
                past.add(arrival)
                if arguments.done is not None:
                    move(photograph, arguments.done)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
