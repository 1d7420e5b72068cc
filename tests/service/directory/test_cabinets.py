from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from convive_contracts import CabinetState
from tests.service.directory.driving import ADMIN, Driver, Firm


async def test_a_firm_shows_itself_as_it_likes_and_everybody_is_told(driver: Driver, firm: Firm) -> None:
    path = f"/v1/cabinets/{firm.id}"
    face = {"name": "Cabinet Léger & Fille", "colour": "#7A1F5C", "reply_to": "bonjour@leger.example.com"}
    edited = (await firm.call("PATCH", path, {**face, "policies": {"link_days": 30}})).ok()
    assert (edited["colour"], edited["reply_to"]) == ("#7a1f5c", "bonjour@leger.example.com")
    assert edited["policies"]["link_days"] == 30
    assert (await firm.call("GET", path)).ok() == edited
    told = (await driver.hears("cabinet.updated", firm.id, count=2))[-1].data
    assert isinstance(told, CabinetState)
    assert (told.name, told.colour, told.policies.link_days) == ("Cabinet Léger & Fille", "#7a1f5c", 30)

    cleared = (await driver.call("PATCH", path, {"colour": None, "policies": {"link_days": None}}, ADMIN)).ok()
    assert (cleared["colour"], cleared["policies"]["link_days"]) == (None, None)
    assert cleared["reply_to"] == "bonjour@leger.example.com"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"reply_to": "nobody"}, "reply_to"),
        ({"reply_to": "zoé@example.com"}, "reply_to"),
        ({"name": None}, "name"),
        ({"sms_sender": "Léger"}, "sms_sender"),
        ({"sms_sender": "INFO"}, "sms_sender"),
        ({"policies": {"link_days": 91}}, "policies.link_days"),
        ({"policies": {"reminder_days": [20]}}, "policies.reminder_days"),
        ({"policies": {"sms_after_bounce": "yes"}}, "policies.sms_after_bounce"),
        ({"keys": []}, "keys"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(firm: Firm, change: dict[str, Any], field: str) -> None:
    refused = await firm.call("PATCH", f"/v1/cabinets/{firm.id}", change)
    assert refused.status == 422
    assert {error["field"] for error in refused.json["errors"]} == {field}


async def test_no_firm_sees_or_changes_another(driver: Driver, firm: Firm) -> None:
    other = await driver.firm("Another cabinet")
    for id in (firm.id, str(uuid4())):
        for method, body in (("GET", None), ("PATCH", {"name": "Mine"})):
            assert (await other.call(method, f"/v1/cabinets/{id}", body)).status == 404
