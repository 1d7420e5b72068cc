"""What Convive says on the bus, for every team that publishes or reads its events.

Depends on pydantic alone; the confirmed publisher (`convive_contracts.publisher`) needs the extra `publisher`.
"""

from convive_contracts.envelope import Event, EventError, Malformed, Oversize, UnknownType, new_event, parse_event
from convive_contracts.events import (
    DIRECTORY_SOURCE,
    INVITATION_SOURCE,
    AccountRedeemed,
    AccountSignedIn,
    CabinetState,
    DossierState,
    InvitationErased,
    InvitationRequest,
    InvitationState,
    UserCreated,
    UserRemoved,
    invitation_id,
)

__all__ = [
    "DIRECTORY_SOURCE",
    "INVITATION_SOURCE",
    "AccountRedeemed",
    "AccountSignedIn",
    "CabinetState",
    "DossierState",
    "Event",
    "EventError",
    "InvitationErased",
    "InvitationRequest",
    "InvitationState",
    "Malformed",
    "Oversize",
    "UnknownType",
    "UserCreated",
    "UserRemoved",
    "invitation_id",
    "new_event",
    "parse_event",
]
