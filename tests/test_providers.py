"""Models run on what the settings say, one by one, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.face.errors import ModelInvalid, ModelNotFound
from service.face.registry import Registry
from service.face.session import PROVIDERS, installed_providers
from service.models import load_models
from service.settings import SettingsInvalid, read_settings
from service.settings.decisions import Inference


def inference(providers: str) -> Inference:
    return read_settings(env_file=None, providers=providers).inference


def test_one_provider_is_for_all_models_and_others_for_some() -> None:
    assert inference("cpu").provider_names == ("cpu", {})
    assert inference("cuda, facet-detector = cpu").provider_names == ("cuda", {"facet-detector": "cpu"})
    assert inference("facet-s=openvino").provider_names == ("cpu", {"facet-s": "openvino"})


@pytest.mark.parametrize(("providers", "said"), [("gpu", "is no execution provider"), ("cuda, cpu", "name one")])
def test_what_is_no_provider_is_refused_at_the_start(providers: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"FACET_PROVIDERS: .*{said}"):
        inference(providers)


def test_a_model_is_refused_what_is_not_installed_and_others_are_not(model_dirs: tuple[Path, ...]) -> None:
    registry = Registry.scan(model_dirs)
    embedder, detector = (registry.folders(task)[0].manifest for task in ("embedder", "detector"))
    missing = next(name for name in PROVIDERS if name not in installed_providers())
    with pytest.raises(ModelInvalid, match=f"not available here: {missing}"):
        load_models(registry, inference(f"{embedder.identity}={missing}"))
    with pytest.raises(ModelNotFound, match="nonesuch"):
        load_models(registry, inference("nonesuch=cpu"))
    models = load_models(registry, inference(f"cpu, {detector.name}=cpu"))
    assert models.provider_of(embedder.sha256) == models.provider_of(detector.sha256) == "cpu"
    assert models.provider_of("0" * 64) is None
    series = CollectorRegistry()
    models.register(series)
    labels = {"name": embedder.name, "version": embedder.version, "provider": "cpu"}
    assert series.get_sample_value("facet_model_provider", labels) == 1
