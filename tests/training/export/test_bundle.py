import io
import json
import tarfile
from pathlib import Path

import pytest

from service.face.registry import Registry
from tests.conftest import SHARED
from training.errors import PublishRefused, SetMissing
from training.export.bundle import ARCHIVES, FACES, HERE, RELEASES, Rehearsal, make_starter, unpack
from training.export.record import FORMS
from training.export.release import read_publication
from training.tasks.registry import read_recipe


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_says_what_it_is_and_how_it_is_made(name: str) -> None:
    what = read_publication(HERE / "releases" / f"{name}.json")
    assert what.form in FORMS
    assert what.about
    assert what.limits
    recipes = [read_recipe(HERE / "recipes" / f"{recipe}.yaml") for recipe in what.recipes]
    assert recipes, "the last recipe's run is what is published"


def test_a_release_that_is_incomplete(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"name": "x"}')
    with pytest.raises(PublishRefused, match="licence"):
        read_publication(tmp_path / "r.json")


def test_archives_are_unpacked_once_and_none_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    for name in ARCHIVES[:-1]:
        with tarfile.open(tmp_path / "archives" / f"{name}.tar", "w") as tar:
            info = tarfile.TarInfo("a/1.txt")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"one"))
    with pytest.raises(SetMissing, match=ARCHIVES[-1]):
        unpack(tmp_path / "archives", tmp_path / "raw")
    first = tmp_path / "raw" / ARCHIVES[0] / "a" / "1.txt"
    assert first.read_bytes() == b"one"
    first.write_bytes(b"kept")
    with pytest.raises(SetMissing):
        unpack(tmp_path / "archives", tmp_path / "raw")
    assert first.read_bytes() == b"kept"


def test_without_data_the_bundle_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(SetMissing, match="the starter is trained on"):
        make_starter(tmp_path / "shared", tmp_path / "work", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def shrink(archive: Path, target: Path) -> None:
    """Copy a part of an archive of research data, its lists cut to what is copied."""
    with tarfile.open(archive) as source, tarfile.open(target, "w") as out:
        held = {member.name: source.extractfile(member) for member in source.getmembers() if member.isfile()}
        lists = {n: f.read().decode() for n, f in held.items() if f and n.endswith((".csv", ".txt"))}
        pictures = [name for name in held if name not in lists]
        if archive.stem == "lfw_view1":
            lists = {name: few_pairs(text) for name, text in lists.items()}
            people = {cell for text in lists.values() for cell in text.split()}
            pictures = [name for name in pictures if name.split("/")[0] in people]
        else:
            pictures = pictures[:: 40 if archive.stem in FACES else 3]
            lists = {name: few_rows(text, {Path(picture).name for picture in pictures}) for name, text in lists.items()}
        contents = {name: text.encode() for name, text in lists.items()}
        contents |= {name: file.read() for name in pictures if (file := held[name])}
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))


def few_pairs(text: str) -> str:
    """The first forty genuine and forty impostor pairs of one of LFW's lists."""
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    kept = [row for row in rows if len(row) == 3][:40] + [row for row in rows if len(row) == 4][:40]
    return "\n".join(["40", *("\t".join(row) for row in kept)]) + "\n"


def few_rows(text: str, files: set[str]) -> str:
    head, *rows = text.splitlines()
    return "\n".join([head, *(row for row in rows if row.split(",")[0] in files)]) + "\n"


@pytest.mark.data
@pytest.mark.slow
def test_every_step_from_the_archives_to_the_bundle(tmp_path: Path) -> None:
    """The command itself, on a small part of the pictures and with runs of two steps."""
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / "models").symlink_to(SHARED / "models")
    for name in ARCHIVES:
        shrink(SHARED / "data" / f"{name}.tar", tmp_path / "shared" / "data" / f"{name}.tar")
    made = make_starter(
        tmp_path / "shared", tmp_path / "work", tmp_path / "bundle", rehearsal=Rehearsal(steps=2, tiles=20)
    )
    folders = {folder.manifest.name: folder for folder in Registry.scan([tmp_path / "bundle"]).folders()}
    assert set(folders) == {"facet-detector", "facet-s", "facet-m"}
    assert len(made) == 3
    for folder in folders.values():
        folder.verify()
    assert folders["facet-s"].manifest.space == folders["facet-m"].manifest.space
    assert folders["facet-s"].manifest.thresholds
    told = json.loads((tmp_path / "work" / "runs" / "facet-s" / "fit.json").read_text())
    assert told["step"] == told["total"] == 2
