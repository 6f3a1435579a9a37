"""Clients that public generators make of the OpenAPI document, without help, do their work on a real server."""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.server import Server, serving

pytestmark = pytest.mark.engines
PROGRAMS = Path(__file__).parent / "generated"
PYTHON_GENERATORS = (
    "openapi-python-client==0.29.1",
    "openapi-generator-cli==7.26.0",
    "datamodel-code-generator==0.89.0",
    "httpx",
    "attrs",
    "python-dateutil",
    "urllib3",
    "pydantic",
)
TYPESCRIPT = ("openapi-typescript@7.13.0", "typescript@5.9.3")
IMPORT_ALL = """
import importlib, pkgutil, facet_api
for module in pkgutil.walk_packages(facet_api.__path__, "facet_api."):
    importlib.import_module(module.name)
"""
EXPECTED = {
    "same": "match",
    "other": "no_match",
    "enrolled": ["person-1", "person-2"],
    "known": ["match", "person-1"],
    "landmarks": 5,
    "faceless": [422, "no_face", "probe"],
    "refused": [401, "key_invalid"],
}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment of their own: the generators' needs are not ours."""
    folder = tmp_path_factory.mktemp("generators")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "pip", "install", "--quiet", *PYTHON_GENERATORS, cwd=folder)
    return folder / "bin"


@pytest.fixture
def server(models: tuple[Path, ...], tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data", models) as running:
        yield running


@pytest.fixture
def document(server: Server, tmp_path: Path) -> Path:
    """The document as the server gives it."""
    return fetched(server, tmp_path / "openapi.json")


@pytest.fixture(scope="module")
def photographs(
    tmp_path_factory: pytest.TempPathFactory, astronaut_jpeg: bytes, admiral_jpeg: bytes, cat_png: bytes
) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name, data in (("astronaut.jpg", astronaut_jpeg), ("admiral.jpg", admiral_jpeg), ("cat.jpg", cat_png)):
        (folder / name).write_bytes(data)
    return folder


def fetched(server: Server, target: Path, query: str = "") -> Path:
    with server.client() as client:
        target.write_bytes(client.get(f"/openapi.json{query}").raise_for_status().content)
    return target


def results(server: Server, photographs: Path, program: Path, interpreter: str | Path) -> object:
    told = run(interpreter, program, server.address, str(server.key), photographs, cwd=program.parent)
    return json.loads(told.strip().splitlines()[-1])


def copied(name: str, folder: Path) -> Path:
    target = folder / name
    target.write_text((PROGRAMS / name).read_text(encoding="utf-8"), encoding="utf-8")
    return target


def test_a_client_of_openapi_python_client(server: Server, document: Path, photographs: Path, tools: Path) -> None:
    folder = document.parent
    told = run(
        *(tools / "openapi-python-client", "generate", "--meta", "none"),
        *("--path", document, "--output-path", folder / "facet_api"),
        cwd=folder,
    )
    assert told.count("WARNING") == 1, told  # it knows no pictures as answers
    assert "image/png" in told
    run(tools / "python", "-c", IMPORT_ALL, cwd=folder)
    program = copied("on_openapi_python_client.py", folder)
    assert results(server, photographs, program, tools / "python") == EXPECTED


@pytest.mark.needs("java")
def test_a_client_of_openapi_generator(server: Server, photographs: Path, tools: Path, tmp_path: Path) -> None:
    document = fetched(server, tmp_path / "forms.json", "?bodies=forms")
    run(tools / "openapi-generator-cli", "generate", "-g", "python", "-i", document, "-o", tmp_path, cwd=tmp_path)
    program = copied("on_openapi_generator.py", tmp_path)
    assert results(server, photographs, program, tools / "python") == EXPECTED


def test_models_of_datamodel_code_generator(
    server: Server, document: Path, photographs: Path, tools: Path, tmp_path: Path
) -> None:
    run(
        *(tools / "datamodel-codegen", "--input", document, "--input-file-type", "openapi"),
        *("--output", tmp_path / "facet_models.py", "--output-model-type", "pydantic_v2.BaseModel"),
        cwd=tmp_path,
    )
    photo = ("a.jpg", (photographs / "astronaut.jpg").read_bytes())
    with server.client() as client:
        answer = client.post("/v1/verify", files={"probe": photo, "reference": photo}).text
        problem = client.post("/v1/identify", files={"image": photo}, data={"collection": "nowhere"}).text
    (tmp_path / "answer.json").write_text(answer)
    (tmp_path / "problem.json").write_text(problem)
    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "from facet_models import Problem, Verification\n"
        "verified = Verification.model_validate_json(Path('answer.json').read_text())\n"
        "problem = Problem.model_validate_json(Path('problem.json').read_text())\n"
        "print(verified.decision.value, problem.code)\n"
    )
    assert run(tools / "python", program, cwd=tmp_path).split() == ["match", "collection_not_found"]


@pytest.mark.needs("node", "npm")
def test_types_of_openapi_typescript(server: Server, document: Path, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    run("npm", "install", "--silent", "--no-audit", "--no-fund", *TYPESCRIPT, cwd=tmp_path)
    run("npx", "openapi-typescript", document, "--output", tmp_path / "facet.d.ts", cwd=tmp_path)
    program = copied("on_openapi_typescript.ts", tmp_path)
    run(*("npx", "tsc", "--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"), program, cwd=tmp_path)
    assert results(server, photographs, program.with_suffix(".js"), "node") == EXPECTED
