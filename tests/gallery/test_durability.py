"""What is acknowledged survives: SIGKILL at any instant, a full disk, a directory that cannot be written."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.bench.gallery.torture import torture
from service.database.encryption import Keyring
from service.database.schema import templates
from service.gallery.embedded import open_embedded

ROOT = Path(__file__).parents[2]


def test_nothing_acknowledged_is_lost_by_sigkill(tmp_path: Path) -> None:
    toll = torture(tmp_path, kills=8, seed=3)
    assert toll.problems == []
    assert toll.kills == 8
    assert toll.acknowledged > 20
    assert toll.repeated > 0
    assert toll.from_files > 0


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_sigkill_with_the_encryption_on(tmp_path: Path) -> None:
    key = f"k:{base64.b64encode(bytes(range(32))).decode()}"
    toll = torture(tmp_path, kills=25, seed=4, keys=key)
    assert toll.problems == []
    assert toll.kills == 25
    assert toll.acknowledged > 20
    with closing(open_embedded(tmp_path, keyring=Keyring.parse(key))) as gallery:
        sealing = sa.select(templates.c.key_id).distinct()
        assert gallery.database.read(lambda connection: connection.scalars(sealing).all()) == ["k"]


DISK = """
import json, os, resource, sys
from pathlib import Path
import numpy as np
from service.gallery.embedded import open_embedded
from service.database.errors import StorageError
from service.gallery.records import NewFace
from service.database.schema import new_id
from service.index.embedded.tiered import Tiers

directory, limit = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)

def face():
    vector = random.standard_normal(512).astype(np.float32)
    return NewFace(new_id(), {"d" * 64: vector / np.linalg.norm(vector)})

gallery = open_embedded(directory, tiers=Tiers(exact=50, fresh=20, segment=100))
gallery.create_collection("main")
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
kept, failure, first = [], None, None
for number in range(20000):
    one = face()
    try:
        gallery.enroll("main", f"s{number}", [one])
    except StorageError as error:
        failure = type(error).__name__
        break
    kept.append(one.id)
    first = first or one
# Nothing half-written, and everything acknowledged can still be read and found.
alive = gallery.search("main", "d" * 64, first.templates["d" * 64][None], 1)[0][0].face_id == first.id
count = gallery.counts.templates("main", "d" * 64)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    (directory.parent / "ballast").unlink()
one = face()
gallery.enroll("main", "after", [one])  # no restart, no repair
problems = gallery.verify().problems
gallery.close()
again = open_embedded(directory)
ids = set()
cursor = None
while True:
    page = again.subjects("main", cursor)
    for subject in page.items:
        ids |= {f.id for f in again.faces("main", subject.name).items}
    cursor = page.next_cursor
    if cursor is None:
        break
print(json.dumps({
    "failure": failure, "kept": len(kept), "count": count, "alive": alive, "problems": problems,
    "lost": len(set(kept + [one.id]) - ids), "extra": len(ids - set(kept + [one.id])), "sound": again.verify().sound,
}))
again.close()
"""


def check(answer: str, failures: set[str]) -> None:
    result = json.loads(answer)
    assert result.pop("failure") in failures
    kept = result.pop("kept")
    assert kept > 20
    assert result == {"count": kept, "alive": True, "problems": [], "lost": 0, "extra": 0, "sound": True}


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def test_a_file_size_limit_is_a_clear_error_and_recovery_needs_no_hand(tmp_path: Path) -> None:
    check(run(DISK, str(tmp_path / "data"), "1500000"), {"StorageFull", "StorageUnavailable"})


def mountable() -> bool:
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("way", ["mount namespace"] if mountable() else [])
def test_a_full_disk_is_a_clear_error_and_recovery_needs_no_hand(way: str, tmp_path: Path) -> None:
    """A real full file system of 3 MB, half of it ballast that the script deletes to make room."""
    script = tmp_path / "disk.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{DISK}", encoding="utf-8")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = (
        f"mount -t tmpfs -o size=3m none {disk} && head -c 1000000 /dev/zero > {disk}/ballast && "
        f"{sys.executable} {script} {disk}/data 0"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    check(done.stdout.strip().splitlines()[-1], {"StorageFull"})


READ_ONLY = """
import os, sys
from pathlib import Path
import numpy as np
from service.gallery.embedded import open_embedded
from service.database.errors import StorageReadOnly
from service.gallery.records import NewFace

directory = Path(sys.argv[1])
vector = np.zeros(8, np.float32); vector[0] = 1
gallery = open_embedded(directory)
gallery.create_collection("main")
gallery.enroll("main", "kept", [NewFace("face", {"d" * 64: vector})])
gallery.close()
for file in [directory, *directory.iterdir()]:
    file.chmod(0o555 if file.is_dir() else 0o444)
if os.geteuid() == 0:  # permissions do not bind root
    os.setegid(65534); os.seteuid(65534)
try:
    open_embedded(directory)
except StorageReadOnly as error:
    print(type(error).__name__, file=sys.stderr)
else:
    sys.exit("a directory that cannot be written was opened")
if os.getuid() == 0:
    os.seteuid(0); os.setegid(0)
for file in [directory, *directory.iterdir()]:
    file.chmod(0o755 if file.is_dir() else 0o644)
again = open_embedded(directory)
print(again.search("main", "d" * 64, vector[None], 1)[0][0].subject)
again.close()
"""


def test_a_read_only_directory_is_a_clear_error_and_recovery_needs_no_hand(tmp_path: Path) -> None:
    for parent in tmp_path.parents[:3]:
        if str(parent).startswith("/tmp/pytest"):
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    assert run(READ_ONLY, str(tmp_path / "data")) == "kept"
