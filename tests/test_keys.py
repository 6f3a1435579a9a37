"""Keys: hashed at rest, scoped, and gone the moment they are revoked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from service.database.schema import keys as table
from service.database.sqlite.engine import open_engine
from service.keys import Key, KeyInvalid, KeyNotFound, Keys, Scope, TooManyGuesses, _Shown, mask


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


def test_what_another_process_does_to_a_key_counts_when_it_is_recalled(engine: sa.Engine, tmp_path: Path) -> None:
    keys = Keys(engine)
    made, text = keys.create("door", [Scope.READ])
    keys.verify(text)
    for _ in range(2):  # the second time by the row alone
        assert keys.recall(text) == made
    elsewhere = open_engine(tmp_path)
    with elsewhere.begin() as connection:
        connection.execute(sa.update(table).values(scopes=["verify"], collections=["staff"]))
    changed = keys.recall(text)
    assert changed is not None
    assert (changed.scopes, changed.collections) == (frozenset({Scope.VERIFY}), frozenset({"staff"}))
    assert keys.recall(text) == changed
    Keys(elsewhere).revoke(made.id)
    elsewhere.dispose()
    with pytest.raises(KeyInvalid):
        keys.recall(text)


def test_a_key_that_expires_is_not_recalled(engine: sa.Engine) -> None:
    clock = [datetime(2030, 1, 1, tzinfo=UTC)]
    keys = Keys(engine, lambda: clock[0])
    made, text = keys.create("door", [Scope.READ], lifetime=timedelta(days=1))
    keys.verify(text)
    assert [keys.recall(text) for _ in range(2)] == [made, made]
    clock[0] += timedelta(days=1)
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


def guess(keys: Keys, key_id: str, count: int, address: str = "") -> list[str]:
    """The codes by which wrong secrets for a key are refused."""
    codes = []
    for number in range(count):
        with pytest.raises((KeyInvalid, TooManyGuesses)) as error:
            keys.verify(f"facet_{key_id}_{number:048x}", address)
        codes.append(error.value.code)
    return codes


def make_older(engine: sa.Engine, made: Key, text: str) -> tuple[str, str]:
    """Turn a key into one as it was made before ids came of secrets; returns its id and its text."""
    hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
    secret = text.rsplit("_", 1)[1]
    with engine.begin() as connection:
        connection.execute(
            sa.update(table).where(table.c.id == made.id).values(id="0123456789", hash=hasher.hash(secret))
        )
    return "0123456789", f"facet_0123456789_{secret}"


def test_who_knows_the_id_locks_nobody_out_after_a_restart(engine: sa.Engine) -> None:
    made, text = Keys(engine).create("door", [Scope.READ])
    restarted = Keys(engine)
    assert guess(restarted, made.id, 200)[-1] == "too_many_guesses"
    assert restarted.verify(text) == made, "from the very address that guesses come from"


def test_wrong_secrets_cost_no_hash(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(engine)
    made, text = keys.create("door", [Scope.READ])
    hashed: list[str] = []
    check = keys._check_hash
    monkeypatch.setattr(keys, "_check_hash", lambda shown: (hashed.append(shown.secret), check(shown)))
    guess(keys, made.id, 20)
    assert hashed == []
    keys.verify(text)
    assert len(hashed) == 1


def test_a_key_of_before_goes_on_working_and_is_guessed_at_by_address(engine: sa.Engine) -> None:
    keys = Keys(engine)
    key_id, text = make_older(engine, *keys.create("door", [Scope.READ]))
    codes = guess(keys, key_id, 14, "192.0.2.1")
    assert (codes[0], codes[-1]) == ("key_invalid", "too_many_guesses")
    assert keys.verify(text, "192.0.2.2").id == key_id


def test_guesses_at_one_moment_do_not_pass_the_limit(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(engine)
    key_id, _ = make_older(engine, *keys.create("door", [Scope.READ]))
    hashed: list[str] = []
    check = keys._check_hash
    monkeypatch.setattr(keys, "_check_hash", lambda shown: (hashed.append(shown.secret), check(shown)))

    def one(number: int) -> None:
        with pytest.raises((KeyInvalid, TooManyGuesses)):
            keys.verify(f"facet_{key_id}_{number:048x}")

    with ThreadPoolExecutor(64) as threads:
        list(threads.map(one, range(200)))
    assert 1 <= len(hashed) <= 10


def test_many_first_sights_of_one_key_are_hashed_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = Keys(engine).create("door", [Scope.READ])
    restarted = Keys(engine)
    hashed: list[str] = []
    check = restarted._check_hash
    monkeypatch.setattr(restarted, "_check_hash", lambda shown: (hashed.append(shown.secret), check(shown)))
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lambda _: restarted.verify(text), range(100)))
    assert len(hashed) == 1


def test_a_key_is_not_read_at_once_where_it_would_wait_for_a_connection(engine: sa.Engine) -> None:
    keys = Keys(engine)
    _, text = keys.create("door", [Scope.READ])
    keys.verify(text)
    assert keys.quick
    with ExitStack() as busy:
        while keys.quick:
            busy.enter_context(engine.connect())
        assert keys.recall(text) is not None, "a connection is still free"
    assert keys.quick
