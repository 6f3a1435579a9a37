"""Model folders: manifests without defaults, digests, intake and resumable download."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from service.face.detection.detect import LANDMARKS
from service.face.download import download
from service.face.embedding.normalisation import NORMALISATION
from service.face.errors import ModelDigestMismatch, ModelExists, ModelInvalid, ModelNotFound
from service.face.external_weights import external_files
from service.face.manifest import COSINE, LandmarksSpec, Manifest, NormalisationSpec, dump_manifest, parse_manifest
from service.face.model_import import ModelSpec, add_model, known_specs, parse_spec, read_spec
from service.face.registry import CARD, MANIFEST, MODEL, ModelFolder, Registry, sha256_of

OPTIONAL = ("score", "tail", "normalisation", "recognisability", "landmarks")


@pytest.fixture
def folder(model_dirs: tuple[Path, ...], tmp_path: Path) -> ModelFolder:
    """A copy of a real embedder that a test may damage."""
    source = Registry.scan(model_dirs).folders("embedder")[0]
    target = tmp_path / "models" / "copy"
    shutil.copytree(source.path, target)
    return ModelFolder(source.manifest, target)


def spec_of(manifest: Manifest, **changes: object) -> ModelSpec:
    fields = manifest.model_dump(mode="json", by_alias=True)
    for absent in ("schema", "cost", "space", *OPTIONAL):
        fields.pop(absent)
    cost = {"parameters": manifest.cost.parameters, "multiply_adds": manifest.cost.multiply_adds}
    return ModelSpec.model_validate(fields | cost | {"about": "a test", "url": None, "space": None} | changes)


def test_every_field_of_a_manifest_is_required(folder: ModelFolder) -> None:
    whole = json.loads(dump_manifest(folder.manifest))
    assert parse_manifest(json.dumps(whole), "m") == folder.manifest
    for field in whole.keys() - {*OPTIONAL}:
        with pytest.raises(ModelInvalid, match=field):
            parse_manifest(json.dumps({k: v for k, v in whole.items() if k != field}), "m")
    with pytest.raises(ModelInvalid, match="colour"):
        parse_manifest(json.dumps(whole | {"input": whole["input"] | {"colour": "GRB"}}), "m")
    with pytest.raises(ModelInvalid, match="surplus"):
        parse_manifest(json.dumps(whole | {"surplus": 1}), "m")


def test_what_may_be_left_out_of_a_manifest_is_not_written(folder: ModelFolder) -> None:
    plain = folder.manifest.model_copy(
        update={"normalisation": None, "recognisability": None, "score": COSINE, "tail": ()}
    )
    written = json.loads(dump_manifest(plain))
    assert not {*OPTIONAL} & written.keys()
    assert parse_manifest(json.dumps(written), "m") == plain


def test_thresholds_of_another_score_do_not_load(folder: ModelFolder) -> None:
    """A normalisation changes every score: thresholds from before it would hold no rate."""
    plain = json.loads(dump_manifest(folder.manifest))
    for optional in OPTIONAL:
        plain.pop(optional, None)
    parts = {"sha256": "ab" * 32, "nearest": 4, "strength": 1.2, "cohort": 100, "data": ["somebody"]}
    with pytest.raises(ModelInvalid, match="calibrate it again"):
        parse_manifest(json.dumps(plain | {"normalisation": parts}), "m")
    named = f"as-norm:{'ab' * 8}"
    assert parse_manifest(json.dumps(plain | {"normalisation": parts, "score": named}), "m").computed_score == named
    with pytest.raises(ModelInvalid, match="calibrate it again"):
        parse_manifest(json.dumps(plain | {"score": named}), "m")


def test_a_detectors_second_graph_is_checked_like_the_first(model_dirs: tuple[Path, ...], tmp_path: Path) -> None:
    source = Registry.scan(model_dirs).folders("detector")[0]
    target = tmp_path / "models" / "copy"
    shutil.copytree(source.path, target)
    shutil.copyfile(target / MODEL, target / LANDMARKS)
    spec = LandmarksSpec(sha256=sha256_of(target / LANDMARKS), source="itself@1.0.0")
    manifest = source.manifest.model_copy(update={"landmarks": spec})
    assert parse_manifest(dump_manifest(manifest), "m") == manifest
    folder = ModelFolder(manifest, target)
    detector = folder.detector()
    assert detector.placer is not detector.finder
    assert detector.digests == (manifest.sha256, spec.sha256)
    (target / LANDMARKS).write_bytes(b"damaged")
    with pytest.raises(ModelDigestMismatch, match=LANDMARKS):
        folder.verify()
    (target / LANDMARKS).unlink()
    with pytest.raises(ModelInvalid, match="missing"):
        folder.detector()


def test_a_cut_without_a_measure_to_cut_does_not_load(folder: ModelFolder) -> None:
    """Its faces would all pass, and the gate would seem to be there."""
    written = json.loads(dump_manifest(folder.manifest))
    silent = written | {"output": written["output"] | {"confidence": None}}
    with pytest.raises(ModelInvalid, match="cuts nothing"):
        parse_manifest(json.dumps(silent | {"recognisability": {"sha256": None, "cut": 0.4}}), "m")
    parse_manifest(json.dumps(silent | {"recognisability": {"sha256": "ab" * 32, "cut": 0.4}}), "m")
    telling = written | {"output": written["output"] | {"confidence": "confidence"}}
    parse_manifest(json.dumps(telling | {"recognisability": {"sha256": None, "cut": 0.4}}), "m")


def test_only_a_detector_has_landmarks(folder: ModelFolder) -> None:
    written = json.loads(dump_manifest(folder.manifest))
    with pytest.raises(ModelInvalid, match="only a detector"):
        parse_manifest(json.dumps(written | {"landmarks": {"sha256": "ab" * 32, "source": "a@1.0.0"}}), "m")


def test_a_tail_goes_on_from_the_thresholds(folder: ModelFolder) -> None:
    whole = json.loads(dump_manifest(folder.manifest))
    last = whole["thresholds"][-1]
    beyond = {"fmr": last["fmr"] / 10, "threshold": last["threshold"] + 0.05, "ci95": [0.0, last["fmr"]]}
    assert len(parse_manifest(json.dumps(whole | {"tail": [beyond]}), "m").tail) == 1
    for wrong in (beyond | {"fmr": last["fmr"] * 2}, beyond | {"threshold": last["threshold"] - 0.05}):
        with pytest.raises(ModelInvalid, match="from the highest FMR to the lowest"):
            parse_manifest(json.dumps(whole | {"tail": [wrong]}), "m")


def test_a_threshold_that_the_trials_cannot_support_is_refused(folder: ModelFolder) -> None:
    whole = json.loads(dump_manifest(folder.manifest))
    row = {"fmr": 1e-6, "threshold": 0.6, "impostor_trials": 29_000_000, "ci95": [5e-7, 2e-6]}
    with pytest.raises(ModelInvalid, match=r"expects 29\.0 false matches"):
        parse_manifest(json.dumps(whole | {"thresholds": [row], "tail": []}), "m")
    parse_manifest(json.dumps(whole | {"thresholds": [row | {"impostor_trials": 30_000_000}], "tail": []}), "m")


def test_a_changed_or_missing_file_does_not_load(folder: ModelFolder) -> None:
    registry = Registry.scan([folder.path.parent])
    registry.embedder(folder.manifest.name)
    model = folder.path / MODEL
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(ModelDigestMismatch):
        registry.embedder(folder.manifest.name)
    model.unlink()
    with pytest.raises(ModelInvalid, match="missing"):
        registry.embedder(folder.manifest.name)
    (folder.path / CARD).unlink()
    with pytest.raises(ModelInvalid, match=CARD):
        folder.verify()


def test_a_broken_manifest_is_reported_and_hides_no_other(folder: ModelFolder) -> None:
    broken = folder.path.parent / "broken"
    broken.mkdir()
    (broken / MANIFEST).write_text("{}")
    registry = Registry.scan([folder.path.parent])
    assert [f.manifest.identity for f in registry.folders()] == [folder.manifest.identity]
    assert len(registry.faults) == 1
    with pytest.raises(ModelNotFound, match="known"):
        registry.find("nothing")
    with pytest.raises(ModelNotFound):
        Registry.scan([folder.path / "absent"])


def test_a_folder_that_is_being_made_is_no_model_yet(folder: ModelFolder) -> None:
    """What a killed `facet models add` leaves behind would answer in the place of the model that is added again."""
    folder.path.rename(folder.path.parent / ".adding-x")
    assert Registry.scan([folder.path.parent]).folders() == []


def test_the_newest_version_answers_to_the_bare_name(folder: ModelFolder) -> None:
    newer = folder.manifest.model_copy(update={"version": "10.0.0"})
    older = folder.manifest.model_copy(update={"version": "9.9.9"})
    registry = Registry([ModelFolder(m, folder.path) for m in (older, newer)])
    assert registry.find(folder.manifest.name).manifest.version == "10.0.0"
    assert registry.find(f"{folder.manifest.name}@9.9.9").manifest.version == "9.9.9"


def test_adding_a_model_makes_a_folder_that_loads(folder: ModelFolder, tmp_path: Path) -> None:
    spec = spec_of(folder.manifest, name="mine")
    added = add_model(folder.model_path, spec, tmp_path / "added")
    added.verify()
    assert added.manifest.space == added.manifest.sha256
    assert "mine@" in added.card()
    assert Registry.scan([tmp_path / "added"]).embedder("mine").dim == folder.manifest.output.dim  # type: ignore[union-attr]
    with pytest.raises(ModelExists):
        add_model(folder.model_path, spec, tmp_path / "added")


def test_what_does_not_fit_its_spec_leaves_nothing_behind(folder: ModelFolder, tmp_path: Path) -> None:
    target = tmp_path / "added"
    good = spec_of(folder.manifest, name="mine")
    small = good.input.model_copy(update={"width": 40, "height": 40})
    with pytest.raises(ModelInvalid):
        add_model(folder.model_path, good.model_copy(update={"input": small}), target)
    with pytest.raises(ModelDigestMismatch):
        add_model(folder.model_path, good.model_copy(update={"sha256": "0" * 64}), target)
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a graph")
    with pytest.raises(ModelInvalid):
        add_model(junk, good.model_copy(update={"sha256": None}), target)
    with pytest.raises(ModelNotFound):
        add_model(tmp_path / "absent.onnx", good, target)
    assert not target.exists() or not list(target.iterdir())


def test_a_spec_whose_parts_do_not_go_together_is_told_so(folder: ModelFolder, tmp_path: Path) -> None:
    spec = spec_of(folder.manifest, name="mine").model_copy(update={"output": None})
    with pytest.raises(ModelInvalid, match="an embedder needs output"):
        add_model(folder.model_path, spec, tmp_path / "added")
    assert not (tmp_path / "added").exists()
    with pytest.raises(ModelInvalid, match="JSON"):
        read_spec(str(folder.model_path))


def test_known_specs_parse_and_errors_name_the_field() -> None:
    assert {"omz-0095", "yunet", "sface", "arcface-512"} <= set(known_specs())
    with pytest.raises(ModelNotFound, match="omz-0095"):
        read_spec("no-such-spec")
    with pytest.raises(ModelInvalid, match="version"):
        parse_spec('{"name": "x"}', "x.json")


class _Server(http.server.SimpleHTTPRequestHandler):
    """A file server that understands `Range: bytes=N-`, and may cut its first answer short or end amid chunks."""

    body = bytes(range(256)) * 2000
    cut: int | None = None
    ranges: list[str | None]

    def do_GET(self) -> None:
        if self.path == "/absent":
            self.send_error(404)
            return
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"8\r\nhalf of ")
            return
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        rest = self.body[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        cut, type(self).cut = self.cut, None
        self.wfile.write(rest[:cut])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    _Server.ranges, _Server.cut = [], None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_cut_download_resumes_where_it_ended(server: str, tmp_path: Path) -> None:
    digest, target = hashlib.sha256(_Server.body).hexdigest(), tmp_path / "deep" / "model.onnx"
    _Server.cut = 100_000
    with pytest.raises(ModelNotFound, match="resume"):
        download(f"{server}/model", digest, target)
    assert not target.exists()
    seen: list[tuple[int, int | None]] = []
    download(f"{server}/model", digest, target, lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == _Server.body
    assert _Server.ranges == [None, "bytes=100000-"]
    assert seen[-1] == (len(_Server.body), len(_Server.body))
    download(f"{server}/model", digest, target)
    assert len(_Server.ranges) == 2  # what is there already is not fetched again


def test_what_breaks_the_rules_of_http_is_no_answer(server: str, tmp_path: Path) -> None:
    for address in (f"{server}/chunks", f"{server}/no address"):
        with pytest.raises(ModelNotFound, match="could not be read"):
            download(address, "0" * 64, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_download_with_another_digest_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(ModelDigestMismatch):
        download(f"{server}/model", "0" * 64, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ModelNotFound, match="404"):
        download(f"{server}/absent", "0" * 64, tmp_path / "model.onnx")
    with pytest.raises(ModelInvalid, match="http"):
        download("file:///etc/passwd", "0" * 64, tmp_path / "model.onnx")


@pytest.fixture
def parted(folder: ModelFolder, tmp_path: Path) -> Path:
    """The same network with its weights in a second file."""
    path = tmp_path / "parted" / "model.onnx"
    path.parent.mkdir()
    graph = onnx.load(folder.model_path)
    onnx.save_model(graph, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def test_weights_in_a_second_file_are_refused_by_name(parted: Path, folder: ModelFolder, tmp_path: Path) -> None:
    assert external_files(parted) == {"w.bin"}
    assert external_files(folder.model_path) == frozenset()
    with pytest.raises(ModelInvalid, match=r"w\.bin"):
        add_model(parted, spec_of(folder.manifest, sha256=None, name="parted"), tmp_path / "added")
    assert not (tmp_path / "added").exists()


def test_a_folder_with_weights_in_a_second_file_does_not_verify(parted: Path, folder: ModelFolder) -> None:
    shutil.copy(parted, folder.model_path)
    shutil.copy(parted.parent / "w.bin", folder.path)
    digest = hashlib.sha256(parted.read_bytes()).hexdigest()
    other = ModelFolder(folder.manifest.model_copy(update={"sha256": digest}), folder.path)
    with pytest.raises(ModelInvalid, match=r"w\.bin"):
        other.verify()


def weight_elsewhere() -> onnx.TensorProto:
    """A number that lies in another file."""
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    weight.ClearField("float_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../elsewhere")
    return weight


def test_a_normalisation_with_weights_in_a_second_file_does_not_verify(folder: ModelFolder) -> None:
    """Its digest says nothing of them, and they say what is added to every score."""
    node = onnx.helper.make_node("Constant", [], ["y"], value=weight_elsewhere())
    path = folder.path / NORMALISATION
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])).SerializeToString())
    spec = NormalisationSpec(sha256=sha256_of(path), nearest=3, strength=1.0, cohort=40, data=("a test",))
    other = ModelFolder(folder.manifest.model_copy(update={"normalisation": spec}), folder.path)
    for load in (other.verify, other.normalisation):
        with pytest.raises(ModelInvalid, match="elsewhere"):
            load()


def test_weights_of_a_functions_default_are_found(tmp_path: Path) -> None:
    function = onnx.helper.make_function("own", "f", [], ["y"], [], [onnx.helper.make_opsetid("", 20)])
    function.attribute_proto.append(onnx.helper.make_attribute("value", weight_elsewhere()))
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []), functions=[function])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert external_files(tmp_path / "m.onnx") == {"../elsewhere"}


def test_weights_inside_a_branch_are_found(tmp_path: Path) -> None:
    weight = weight_elsewhere()
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["y"], value=weight)], "branch", [], [])
    node = onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])).SerializeToString())
    assert external_files(path) == {"../elsewhere"}


@pytest.mark.parametrize("content", [b"\xff" * 40, b"no graph at all", b"\x3a\x7f"])
def test_what_is_no_graph_is_told_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelInvalid, match="not an ONNX graph"):
        external_files(tmp_path / "m.onnx")
