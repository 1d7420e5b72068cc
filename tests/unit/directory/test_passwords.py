from __future__ import annotations

import asyncio
import threading

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from directory.model.refusals import FieldRefused
from directory.passwords import Passwords, PasswordsBusy, refuse_unfit


@pytest.fixture
def passwords():
    passwords = Passwords()
    yield passwords
    passwords.close()


async def test_a_password_matches_its_own_hash_alone(passwords: Passwords) -> None:
    kept = await passwords.hash("correct horse battery")
    assert await passwords.matches(kept, "correct horse battery")
    assert not await passwords.matches(kept, "correct horse batterY")
    assert not await passwords.matches(None, "correct horse battery")
    assert not await passwords.matches("no hash at all", "correct horse battery")


async def test_hashes_have_the_parameters_for_web_processes(passwords: Passwords) -> None:
    parameters = extract_parameters(await passwords.hash("correct horse battery"))
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)
    assert parameters.type.name == "ID"


async def test_a_hash_of_other_parameters_is_outdated(passwords: Passwords) -> None:
    assert passwords.is_outdated(PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("x"))
    assert not passwords.is_outdated(await passwords.hash("x"))


async def test_accents_may_be_composed_either_way(passwords: Passwords) -> None:
    kept = await passwords.hash("mot de passé sûr")
    assert await passwords.matches(kept, "mot de passe\u0301 su\u0302r")


async def test_no_account_costs_the_same_work_as_a_wrong_password(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await passwords.hash("correct horse battery")
    compared: list[str] = []
    refusals: list[type[Exception]] = []
    verify = PasswordHasher.verify

    def watched(hasher: PasswordHasher, hashed: str, password: bytes) -> bool:
        compared.append(hashed)
        try:
            return verify(hasher, hashed, password)
        except Exception as error:
            refusals.append(type(error))
            raise

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    assert not await passwords.matches(kept, "wrong password here")
    assert not await passwords.matches(None, "wrong password here")

    known, nobodys = compared
    assert extract_parameters(known) == extract_parameters(nobodys)
    assert len(known) == len(nobodys)
    # Both were worked through to the end, and not refused for their looks.
    assert refusals == [VerifyMismatchError, VerifyMismatchError]


async def test_hashing_does_not_hold_up_the_loop_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Passwords(threads=1, waiting=3)
    the_loop_went_on = threading.Event()
    monkeypatch.setattr(PasswordHasher, "hash", lambda _self, _password: str(the_loop_went_on.wait(10)))
    work = [asyncio.create_task(small.hash("correct horse battery")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(PasswordsBusy):
        await small.hash("one too many")
    the_loop_went_on.set()
    assert await asyncio.gather(*work) == ["True"] * 3
    small.close()


@pytest.mark.parametrize(("length", "fits"), [(11, False), (12, True), (128, True), (129, False)])
def test_a_new_password_has_12_to_128_characters(length: int, fits: bool) -> None:
    if fits:
        refuse_unfit("x" * length)
    else:
        with pytest.raises(FieldRefused) as refusal:
            refuse_unfit("x" * length)
        assert refusal.value.about == {"field": "password"}


async def test_whoever_would_wait_too_long_is_told_at_once_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(threads=1, patience=2.0)
    monkeypatch.setattr(passwords, "_takes", 0.9)
    monkeypatch.setattr(passwords, "_waiting", 3)

    with pytest.raises(PasswordsBusy) as busy:
        await passwords.hash("one more")
    assert busy.value.after == pytest.approx(2.7 + 0.9, abs=0.5)
    with pytest.raises(PasswordsBusy) as busier:
        await passwords.hash("one more still")
    assert busier.value.after == pytest.approx(busy.value.after + 0.9, abs=0.5), "not at the same moment"

    monkeypatch.setattr(passwords, "_waiting", 2)
    assert await passwords.hash("there is room again")
    passwords.close()
