from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import Field, SecretStr, ValidationError

from convive_kit.settings import BaseServiceSettings, CommaSeparated, configuration_page, load


class KitchenSettings(BaseServiceSettings):
    link_keys: CommaSeparated[SecretStr] = Field(min_length=1, description="Keys that sign links, the first of them.")
    link_life: timedelta = Field(default=timedelta(days=14), description="How long a link works.")
    oven_port: int = Field(default=8082, ge=1, le=65535, description="Where the oven listens | bakes.")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("CONVIVE_LINK_KEYS", "new, old")
    return monkeypatch


def test_the_environment_is_read_with_lists_networks_and_durations(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CONVIVE_LINK_LIFE", "P2DT30M")
    environment.setenv("CONVIVE_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8")
    settings = load(KitchenSettings)
    assert [key.get_secret_value() for key in settings.link_keys] == ["new", "old"]
    assert settings.link_life == timedelta(days=2, minutes=30)
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]


def test_an_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CONVIVE_OVEN_PORT", "")
    assert load(KitchenSettings).oven_port == 8082


def test_settings_are_frozen_and_show_no_secret() -> None:
    settings = load(KitchenSettings)
    with pytest.raises(ValidationError):
        settings.oven_port = 1  # pyright: ignore[reportAttributeAccessIssue]
    assert "old" not in repr(settings)


def test_a_missing_secret_ends_the_process_and_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("CONVIVE_LINK_KEYS")
    with pytest.raises(SystemExit) as ended:
        load(KitchenSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "CONVIVE_LINK_KEYS is missing: Keys that sign links, the first of them.\n"


def test_every_invalid_variable_is_named_without_its_value(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("CONVIVE_OVEN_PORT", "hunter2")
    environment.setenv("CONVIVE_LINK_LIFE", "fortnight")
    environment.setenv("CONVIVE_TRUSTED_PROXIES", "everyone")
    environment.setenv("CONVIVE_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit):
        load(KitchenSettings)
    said = capsys.readouterr().err
    for name in ("OVEN_PORT", "LINK_LIFE", "TRUSTED_PROXIES", "LOG_LEVEL"):
        assert sum(line.startswith(f"CONVIVE_{name} cannot be used: ") for line in said.splitlines()) == 1
    assert "hunter2" not in said


def test_a_broker_address_that_cannot_be_used_is_named_by_its_place_without_its_password(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("CONVIVE_AMQP_URL", "amqp://guest:hunter2@one/,http://guest:hunter2@two/")
    with pytest.raises(SystemExit) as ended:
        load(KitchenSettings)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("CONVIVE_AMQP_URL cannot be used: address 2 of 2 does not begin with amqp:// or amqps://.")
    assert "hunter2" not in said


def test_the_addresses_of_a_whole_cluster_are_taken(environment: pytest.MonkeyPatch) -> None:
    several = "amqp://guest:guest@one/,amqp://guest:guest@two/"
    environment.setenv("CONVIVE_AMQP_URL", several)
    assert load(KitchenSettings).amqp_url.get_secret_value() == several


def test_the_configuration_page_lists_what_is_shared_once_and_what_each_adds() -> None:
    page = configuration_page([("Kitchen", KitchenSettings)])
    assert "| `CONVIVE_LINK_KEYS` | none, must be set | Keys that sign links, the first of them. |" in page
    assert "| `CONVIVE_LINK_LIFE` | `P14D` | How long a link works. |" in page
    assert "listens \\| bakes" in page
    assert page.count("CONVIVE_AMQP_URL") == 1
    assert "One of `debug`, `info`, `warning`, `error`." in page
