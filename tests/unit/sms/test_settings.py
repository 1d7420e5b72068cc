"""A provider of text messages is named with all it needs, or the service does not start."""

from __future__ import annotations

import pytest

from convive_kit.settings import load
from invitation.settings import InvitationSettings

SECRETS = dict.fromkeys(("SERVICE_TOKEN", "OPS_TOKEN", "LINK_KEYS"), "x" * 32)
PROVIDERS = {
    "generic": {"SMS_URL": "https://gateway.example/messages", "SMS_TOKEN": "t"},
    "twilio": {"SMS_ACCOUNT": "AC1", "SMS_TOKEN": "t"},
    "ovh": {
        "SMS_ACCOUNT": "sms-ab12345-1",
        "SMS_OVH_APPLICATION_KEY": "k",
        "SMS_OVH_APPLICATION_SECRET": "s",
        "SMS_OVH_CONSUMER_KEY": "c",
    },
}


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> InvitationSettings:
    for name, value in (SECRETS | given).items():
        monkeypatch.setenv(f"CONVIVE_{name}", value)
    return load(InvitationSettings)


@pytest.mark.parametrize(
    ("provider", "left_out"), [(provider, name) for provider, needed in PROVIDERS.items() for name in needed]
)
def test_what_a_provider_lacks_is_said_and_the_service_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], provider: str, left_out: str
) -> None:
    given = {name: value for name, value in PROVIDERS[provider].items() if name != left_out}
    with pytest.raises(SystemExit):
        settings(monkeypatch, SMS_PROVIDER=provider, **given)
    assert f"CONVIVE_{left_out} must be set for the SMS provider {provider}" in capsys.readouterr().err


@pytest.mark.parametrize("provider", PROVIDERS)
def test_with_all_it_needs_a_provider_can_be_used(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    assert settings(monkeypatch, SMS_PROVIDER=provider, **PROVIDERS[provider]).sms_provider == provider


def test_without_a_provider_nothing_is_needed_and_only_france_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch)
    assert made.sms_provider == "none"
    assert {"FR", "RE", "PF"} <= set(made.sms_countries)
    assert "BE" not in made.sms_countries


@pytest.mark.parametrize(("name", "value"), [("SMS_SENDER", "INFO"), ("SMS_COUNTRIES", "FR,france")])
def test_what_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SystemExit):
        settings(monkeypatch, **{name: value})
