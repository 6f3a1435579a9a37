"""Receivers are checked when the service starts, and no fault tells a secret."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest

from service.settings import SettingsInvalid, read_settings
from tests.webhooks.receiver import OTHER_SECRET, SECRET

GOOD = {"name": "desk", "url": "https://desk.example.org/facet", "secret": SECRET}


def test_receivers_are_read() -> None:
    both = {**GOOD, "name": "both", "secret": f"{SECRET}, {OTHER_SECRET}", "events": ["identification.*"]}
    settings = read_settings(None, webhooks=json.dumps([GOOD, {**both, "collections": ["watchlist"]}]))
    desk, other = settings.webhooks.endpoints
    assert desk.wants("erasure.done", None)
    assert desk.wants("verification.match", "door")
    assert other.secrets == (SECRET, OTHER_SECRET)
    assert other.wants("identification.match", "watchlist")
    assert not other.wants("identification.match", "door")
    assert not other.wants("verification.match", "watchlist")
    assert not other.wants("identification.match", None)
    assert SECRET not in settings.text_of("FACET_WEBHOOKS")


def test_a_collection_is_the_same_however_its_accents_were_typed() -> None:
    typed = unicodedata.normalize("NFD", "Gäste")
    settings = read_settings(None, webhooks=json.dumps([{**GOOD, "collections": [typed]}]), compreface_collection=typed)
    assert settings.webhooks.endpoints[0].wants("verification.match", "Gäste")
    assert settings.compreface.collection == "Gäste"


def test_without_the_setting_nobody_is_told() -> None:
    assert read_settings(None).webhooks.endpoints == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "The Desk"}, "0.name"),
        ({"url": "ftp://desk.example.org"}, "0.url"),
        ({"url": "/facet"}, "0.url"),
        ({"secret": SECRET.removeprefix("whsec_")}, "0.secret"),
        ({"secret": "whsec_c2hvcnQ="}, "0.secret"),
        ({"secret": f"{SECRET},"}, "0.secret"),
        ({"events": ["identification.maybe"]}, "identification.maybe"),
        ({"retries": 3}, "0.retries"),
    ],
)
def test_a_wrong_receiver_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsInvalid, match=rf"FACET_WEBHOOKS: .*{told}") as caught:
        read_settings(None, webhooks=json.dumps([GOOD | change]))
    assert SECRET.removeprefix("whsec_") not in str(caught.value)


@pytest.mark.parametrize("text", [f'[{{"secret": "{SECRET}"', json.dumps([GOOD, GOOD]), json.dumps(GOOD)])
def test_what_is_no_list_of_receivers_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="FACET_WEBHOOKS: ") as caught:
        read_settings(None, webhooks=text)
    assert SECRET not in str(caught.value)
