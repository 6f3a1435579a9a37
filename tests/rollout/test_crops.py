"""Crops are kept where a collection asks for them, so that other models can make their templates later."""

from __future__ import annotations

import numpy as np
import pytest

from service.api.services import Services
from service.face.decoding.image import ImageLimits, decode
from tests.rollout.conftest import Start, enrol


@pytest.mark.parametrize("keeps", [True, False])
def test_a_kept_crop_gives_the_template_again(start: Start, portrait: bytes, keeps: bool) -> None:
    client = start("teacher")
    client.post("/v1/collections", json={"name": "visitors", "keep_crops": keeps})
    enrol(client, "person-1", portrait, collection="visitors")
    services: Services = client.app.state.services  # type: ignore[attr-defined]
    (face,) = services.gallery.faces("visitors", "person-1").items
    kept = services.gallery.crop("visitors", face.id)
    if not keeps:
        assert kept is None
        return
    assert kept is not None
    pixels = decode(kept, ImageLimits()).pixels
    assert pixels.shape == (128, 128, 3)
    model = services.engine.embedder(None)
    hit = services.gallery.compare("visitors", "person-1", model.digest, model.embed(pixels[None])[0])
    assert hit.score == pytest.approx(1.0, abs=1e-3)
    assert np.ptp(pixels) > 100
