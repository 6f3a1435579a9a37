"""Identify whoever is on the photographs that arrive in a folder, until interrupted or stopped.

    FACET_KEY=facet_... python watch_folder.py arrivals --done arrivals/done

Each photograph gives a line of JSON. A file counts as whole once its size has stayed the same from one look to the
next; with --done it is then moved away, so that a new start does not ask about it again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from facet_client import Facet, Problem

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def arrivals(folder: Path, every: float) -> Iterator[Path]:
    """Yield each photograph once, in the order of names, as soon as it is whole."""
    handled: set[tuple[str, int]] = set()
    sizes: dict[str, int] = {}
    while True:
        seen = {path.name: path.stat().st_size for path in folder.iterdir() if path.suffix.lower() in SUFFIXES}
        for name, size in sorted(seen.items()):
            if size and sizes.get(name) == size and (name, size) not in handled:
                handled.add((name, size))
                yield folder / name
        sizes = seen
        time.sleep(every)


def main() -> None:
    """Ask about each photograph, and print what the service says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--collection", default="default")
    parser.add_argument("--done", type=Path, help="folder to move photographs to once they were asked about")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stop by whoever started this, as Ctrl-C
    if arguments.done is not None:
        arguments.done.mkdir(parents=True, exist_ok=True)
    with Facet(arguments.address, os.environ.get("FACET_KEY")) as facet:
        for photograph in arrivals(arguments.folder, arguments.every):
            line: dict[str, object] = {"file": photograph.name}
            try:
                answer = facet.identify(photograph, collection=arguments.collection, faces="all", top_k=1)
            except Problem as problem:
                line["problem"] = problem.code
            else:
                line["faces"] = [
                    {
                        "decision": face.decision,
                        "subject": face.candidates[0].subject if face.decision == "match" else None,
                    }
                    for face in answer.faces
                ]
            print(json.dumps(line, ensure_ascii=False), flush=True)
            if arguments.done is not None:
                photograph.rename(arguments.done / photograph.name)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
