"""Images install what the lock names, and no file of another content."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "hashes"
PINNED = re.compile(
    r"^([a-z0-9.-]+)==(\S+)(?: ; .+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
PARTS = ("cpu", "cuda", "postgres", "milvus", "tracing")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(part: str) -> dict[str, str]:
    """The versions of a part's file by package; every line of it is a package with at least one hash."""
    text = (FOLDER / f"{part}.txt").read_text()
    found = PINNED.findall(text)
    assert sum(1 + hashes.count("--hash") for _, _, hashes in found) == len(text.splitlines())
    return {name: version for name, version, _ in found}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = [line.partition(" ;")[0].partition("==") for line in lines if "==" in line and not line.startswith("#")]
    return {name: version.strip() for name, _, version in pairs}


def needed_by(requirements: list[str]) -> set[str]:
    """The packages that these need, and what those need, as they are installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        for own in ["", *requirement.extras] if wanted else []:
            if (name, own) not in found:
                found.add((name, own))
                waiting += [(Requirement(text), own) for text in requires(name) or []]
    return {name for name, _ in found}


@pytest.mark.parametrize("part", PARTS)
def test_versions_are_those_of_the_lock(part: str) -> None:
    known = locked()
    known["onnxruntime-gpu"] = known["onnxruntime"]
    assert {name: known.get(name) for name in pins(part)} == pins(part), "run `make hashes`"


@pytest.mark.parametrize("part", ["cpu", "postgres", "tracing", pytest.param("milvus", marks=pytest.mark.engines)])
def test_all_that_is_needed_is_there(part: str) -> None:
    requirements = PROJECT["dependencies"] if part == "cpu" else PROJECT["optional-dependencies"][part]
    builder = {"setuptools"} if part == "cpu" else set()
    assert needed_by(requirements) | builder == set(pins(part)), "run `make hashes`"


def test_cuda_takes_the_place_of_the_cpu_alone() -> None:
    cpu, cuda = pins("cpu"), pins("cuda")
    assert set(cuda) - set(cpu) == {"onnxruntime-gpu"}
    assert set(cpu) - set(cuda) == {"onnxruntime"}
    overlay = yaml.safe_load((ROOT / "deploy" / "compose" / "cuda.yml").read_text())["services"]["facet"]
    assert overlay["build"]["args"]["RUNTIME"] == "cuda"
    assert re.fullmatch(r"nvidia/cuda:13\.\d+\.\d+-cudnn-runtime-\w+[\d.]+", overlay["build"]["args"]["BASE"])


def test_nothing_is_installed_without_a_hash() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "pip install" in line and not line.startswith("#")]
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-index --no-deps" in line for line in installs)


def test_the_builder_gets_what_the_dockerfile_copies_and_no_more() -> None:
    text = (ROOT / "Dockerfile").read_text()
    lines = [line.split()[1:-1] for line in text.splitlines() if re.match("COPY (?!--from)", line)]
    copied = {source.removesuffix("/*.txt") for line in lines for source in line}
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == copied
