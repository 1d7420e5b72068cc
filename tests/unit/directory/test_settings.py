from __future__ import annotations

import pytest
from pydantic import ValidationError

from directory.settings import DirectorySettings

SECRETS = {"admin_token": "an-admin-token-of-some-length", "service_token": "a-service-token-of-some-length"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("admin_token", "short"),
        ("service_token", "a token with spaces in it"),
        ("directory_url", "convive.example"),
        ("sign_in_limit_account", "often"),
        ("session_life", "-P1D"),
        ("password_threads", 0),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_the_start(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        DirectorySettings.model_validate({**SECRETS, name: value})


def test_the_public_address_is_kept_without_its_last_slash() -> None:
    settings = DirectorySettings.model_validate({**SECRETS, "directory_url": "https://convive.example/"})
    assert settings.directory_url == "https://convive.example"
