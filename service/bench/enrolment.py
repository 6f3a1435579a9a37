"""How fast people are enrolled by `facet enroll`, beside a loop of curl, in turns, through one service."""

from __future__ import annotations

import csv
import io
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
from PIL import Image

from service.bench.errors import BenchError
from service.bench.photos import encode, read_photos
from service.bench.server import Server, make_key
from service.bulk.people import Person, read_people
from service.bulk.report import KEPT_OUT

EACH = 2
"""Photographs of each person that is made up."""
FACES = "prominent"
ENROLLED = frozenset({"200", "201"})
REFUSED = frozenset({"409", "413", "415", "422"})
"""What a photograph is answered with that is not enrolled for what it is or shows."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Photographs a second, of the loop and of the command."""

    loop: float
    command: float

    @property
    def ratio(self) -> float:
        """How many times faster the command is."""
        return self.command / self.loop


@dataclass(frozen=True, slots=True)
class Enrolment:
    """All turns, how many photographs each of them sent both ways, and how many are enrolled at the end."""

    turns: tuple[Turn, ...]
    photographs: int
    enrolled: int

    @property
    def ratio(self) -> float:
        """Median of the turns."""
        return median(turn.ratio for turn in self.turns)


def measure_enrolment(
    people: Path | None, folder: Path, count: int, turns: int, log: Callable[[str], None]
) -> Enrolment:
    """Enrol about `count` photographs by each of the two ways in each turn, nobody twice.

    Args:
        people: Folder with a folder for each person; None makes people up of two portraits in the public domain.
        folder: To work in.
        count: Photographs that one way enrols in one turn.
        turns: Times that both ways take turns.
        log: Is told what is being done.

    Raises:
        BenchError: There is no curl, or there are too few photographs.
    """
    if shutil.which("curl") is None:
        raise BenchError("curl is missing: `apt install curl`, or your system's package of it")
    source = people or make_people_up(folder / "people", count, 2 * turns)
    blocks = deal(read_people(source), count, 2 * turns)
    data = folder / "data"
    key = make_key(data)
    rows = []
    with Server(data) as server:
        for number in range(turns):
            loop, command = blocks[2 * number], blocks[2 * number + 1]
            log(f"turn {number + 1} of {turns}")
            by_loop = enrol_by_loop(server.address, key, loop)
            rows.append(Turn(by_loop, _command(server.address, key, command, folder)))
        enrolled = _count(server.address, key)
    return Enrolment(tuple(rows), count, enrolled)


def make_people_up(root: Path, count: int, blocks: int) -> Path:
    """Two photographs of each person, enough for so many blocks: portraits cut a little differently each time."""
    portraits = [_opened(photo) for photo in read_photos(None)]
    for number in range(blocks * -(-count // EACH) * EACH):
        portrait = portraits[number // EACH % len(portraits)]
        left, top = number % 17, number // 17 % 13
        cut = portrait.crop((left, top, portrait.width - 17 + left, portrait.height))
        path = root / f"person-{number // EACH:05d}" / f"{number % EACH}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(cut))
    return root


def _opened(photo: bytes) -> Image.Image:
    return Image.open(io.BytesIO(photo)).convert("RGB")


def deal(people: Sequence[Person], count: int, blocks: int) -> list[list[Person]]:
    """Deal people out in turn, until each block has its photographs; nobody is in two. Raises: BenchError."""
    dealt: list[list[Person]] = [[] for _ in range(blocks)]
    waiting = iter(people)
    for block in dealt:
        size = 0
        for person in waiting:
            own = person.photographs[: count - size]
            block.append(Person(person.name, own))
            size += len(own)
            if size == count:
                break
        else:
            raise BenchError(f"there are too few photographs: {blocks * count} are needed")
    return dealt


def enrol_by_loop(address: str, key: str, people: Sequence[Person]) -> float:
    """One curl for each photograph, one after another; photographs a second.

    Raises:
        BenchError: curl failed, or the service did, which says nothing of how fast people are enrolled.
    """
    always = ["curl", "-sS", "-o", "/dev/null", "-w", r"%{http_code}\n", "-H", f"Authorization: Bearer {key}"]
    always += ["-F", f"faces={FACES}", f"{address}/v1/enroll"]
    lines = [
        shlex.join([*always, "--form-string", f"subject={person.name}", "-F", _file(photograph)])
        for person in people
        for photograph in person.photographs
    ]
    begun = time.perf_counter()
    run = subprocess.run(["/bin/sh", "-e"], input="\n".join(lines), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if run.returncode:
        raise BenchError(f"curl failed: {run.stderr.strip()}")
    if others := set(run.stdout.split()) - ENROLLED - REFUSED:
        raise BenchError(f"enrolments were answered with {', '.join(sorted(others))}")
    return len(lines) / seconds


def _file(photograph: Path) -> str:
    """A photograph as curl sends it; between quotes a comma or a semicolon in its path is nothing but that."""
    path = str(photograph).replace("\\", "\\\\").replace('"', '\\"')
    return f'images=@"{path}"'


def _command(address: str, key: str, people: Sequence[Person], folder: Path) -> float:
    """`facet enroll`, its own start included."""
    listed = folder / f"{people[0].name}.csv"
    rows = [(person.name, photograph.absolute()) for person in people for photograph in person.photographs]
    with listed.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("subject", "image"), *rows])
    words = [sys.executable, "-m", "service.cli", "enroll", str(listed), "--faces", FACES]
    environment = {**os.environ, "FACET_SERVER": address, "FACET_KEY": key}
    begun = time.perf_counter()
    run = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode not in (0, KEPT_OUT):
        raise BenchError(f"facet enroll failed: {run.stderr}")
    return len(rows) / (time.perf_counter() - begun)


def _count(address: str, key: str) -> int:
    """Faces enrolled."""
    faces, cursor = 0, None
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as http:
        while True:
            query = {"limit": "1000", **({"cursor": cursor} if cursor else {})}
            page = http.get("/v1/collections/default/subjects", params=query).raise_for_status().json()
            faces += sum(int(subject["faces"]) for subject in page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return faces
