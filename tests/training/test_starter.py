import io
import tarfile
from pathlib import Path

import pytest

from training.errors import PublishRefused, SetMissing
from training.export import FORMS
from training.release import read_publication
from training.starter import ARCHIVES, HERE, RELEASES, make_starter, unpack
from training.tasks import read_recipe


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
