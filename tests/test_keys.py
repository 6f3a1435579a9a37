"""Keys: hashed at rest, scoped, and gone the moment they are revoked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.database.schema import keys as table
from service.database.sqlite.engine import open_engine
from service.keys import KeyInvalid, KeyNotFound, Keys, Scope, TooManyGuesses, _Shown, mask


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(tmp_path)
    yield engine
    engine.dispose()


def count_hashes(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that `keys` checks from now on."""
    seen: list[str] = []
    check = keys._check_secret

    def counted(shown: _Shown) -> None:
        seen.append(shown.key.id)
        check(shown)

    monkeypatch.setattr(keys, "_check_secret", counted)
    return seen


def test_a_key_is_found_again_with_its_rights(engine: sa.Engine) -> None:
    keys = Keys(engine)
    made, text = keys.create("door", [Scope.VERIFY, Scope.READ], ["staff"], timedelta(days=2))
    found = keys.verify(text)
    assert found == made
    assert found.may(Scope.VERIFY)
    assert not found.may(Scope.ENROL)
    assert found.reaches("staff")
    assert not found.reaches("visitors")


def test_admin_may_everything(engine: sa.Engine) -> None:
    key, _ = Keys(engine).create("root", [Scope.ADMIN])
    assert all(key.may(scope) for scope in Scope)
    assert key.reaches("anything")


def test_the_secret_is_not_in_the_store(engine: sa.Engine, tmp_path: Path) -> None:
    _, text = Keys(engine).create("door", [Scope.READ])
    secret = text.rsplit("_", 1)[1]
    with engine.connect() as connection:
        (hashed,) = connection.execute(sa.select(table.c.hash)).one()
    assert hashed.startswith("$argon2id$")
    engine.dispose()
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes(), file


def test_revocation_by_another_process_counts_at_once(engine: sa.Engine, tmp_path: Path) -> None:
    keys = Keys(engine)
    made, text = keys.create("door", [Scope.READ])
    keys.verify(text)
    elsewhere = open_engine(tmp_path)
    Keys(elsewhere).revoke(made.id)
    elsewhere.dispose()
    with pytest.raises(KeyInvalid):
        keys.verify(text)


def test_recalling_takes_no_hash_and_no_unknown_secret(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(engine)
    made, text = keys.create("door", [Scope.READ])
    assert keys.recall(text) is None
    keys.verify(text)
    hashes = count_hashes(keys, monkeypatch)
    assert keys.recall(text) == made
    assert keys.recall(text[:-48] + "0" * 48) is None
    assert not hashes
    keys.revoke(made.id)
    with pytest.raises(KeyInvalid):
        keys.recall(text)


def test_a_key_made_by_another_process_counts_at_once(engine: sa.Engine, tmp_path: Path) -> None:
    elsewhere = open_engine(tmp_path)
    _, text = Keys(elsewhere).create("door", [Scope.READ])
    elsewhere.dispose()
    assert Keys(engine).verify(text).name == "door"


def test_an_expired_key_is_refused(engine: sa.Engine) -> None:
    clock = [datetime(2030, 1, 1, tzinfo=UTC)]
    keys = Keys(engine, lambda: clock[0])
    _, text = keys.create("door", [Scope.READ], lifetime=timedelta(days=1))
    assert keys.verify(text)
    clock[0] += timedelta(days=1)
    with pytest.raises(KeyInvalid):
        keys.verify(text)


@pytest.mark.parametrize("text", ["", "facet", "facet_x_y", "Bearer x", "facet_" + "0" * 10 + "_" + "z" * 48, "é" * 60])
def test_malformed_keys_are_refused(engine: sa.Engine, text: str) -> None:
    with pytest.raises(KeyInvalid):
        Keys(engine).verify(text)


def test_only_the_first_sight_of_a_key_is_hashed(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(engine)
    _, text = keys.create("door", [Scope.READ])
    hashed = count_hashes(keys, monkeypatch)
    for _ in range(5):
        keys.verify(text)
    assert len(hashed) == 1


def test_unknown_ids_cost_no_hash(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(engine)
    hashed = count_hashes(keys, monkeypatch)
    for number in range(50):
        with pytest.raises(KeyInvalid):
            keys.verify(f"facet_{number:010x}_{'0' * 48}")
    assert hashed == []


def test_guessing_one_keys_secret_is_bounded_and_does_not_lock_its_holder_out(engine: sa.Engine) -> None:
    keys = Keys(engine)
    made, text = keys.create("door", [Scope.READ])
    keys.verify(text)
    refusals: list[str] = []
    for number in range(14):
        with pytest.raises((KeyInvalid, TooManyGuesses)) as error:
            keys.verify(f"facet_{made.id}_{number:048x}")
        refusals.append(error.value.code)
    assert "key_invalid" in refusals[:10]
    assert refusals[-1] == "too_many_guesses"
    assert keys.verify(text) == made


def test_a_wrong_secret_after_the_right_one_is_refused(engine: sa.Engine) -> None:
    keys = Keys(engine)
    made, text = keys.create("door", [Scope.READ])
    keys.verify(text)
    with pytest.raises(KeyInvalid):
        keys.verify(f"facet_{made.id}_{'0' * 48}")


def test_the_first_key_is_made_once(engine: sa.Engine) -> None:
    keys = Keys(engine)
    text = keys.create_first()
    assert text is not None
    assert keys.verify(text).may(Scope.ADMIN)
    assert keys.create_first() is None
    keys.revoke(keys.list()[0].id)
    assert keys.create_first() is None, "a store whose keys are all revoked must not open up again"


def test_revoking_what_is_not_there_says_so(engine: sa.Engine) -> None:
    keys = Keys(engine)
    made, _ = keys.create("door", [Scope.READ])
    keys.revoke(made.id)
    for key_id in (made.id, "nothing"):
        with pytest.raises(KeyNotFound):
            keys.revoke(key_id)


def test_verified_keys_are_found_quickly(engine: sa.Engine) -> None:
    keys = Keys(engine)
    _, text = keys.create("door", [Scope.READ])
    begun = time.perf_counter()
    keys.verify(text)
    first = time.perf_counter() - begun
    later = []
    for _ in range(20):
        begun = time.perf_counter()
        keys.verify(text)
        later.append(time.perf_counter() - begun)
    assert sorted(later)[10] < first / 3


def test_logs_show_the_id_and_never_the_secret(engine: sa.Engine) -> None:
    made, text = Keys(engine).create("door", [Scope.READ])
    assert mask(f"GET /?key={text} 400") == f"GET /?key=facet_{made.id}_*** 400"
