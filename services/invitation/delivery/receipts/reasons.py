"""Why a mail did not arrive, from what servers say of it: one of `BOUNCE_REASONS`.

Enhanced status codes decide (RFC 3463 and its registry; 5.1.10 is RFC 7505); a few phrases do where there is none, or
one that says nothing, such as 5.0.0.
"""

from __future__ import annotations

import re

ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
"""An enhanced status code, and no part of an IP address or a version."""

_BY_DETAIL = {
    "1.1": "unknown_address",
    "1.2": "unknown_address",
    "1.3": "unknown_address",
    "1.6": "unknown_address",
    "1.10": "unknown_address",
    "2.1": "mailbox_disabled",
    "2.2": "mailbox_full",
    "2.3": "too_large",
    "3.4": "too_large",
    "4.4": "unknown_address",  # no server takes mail for this domain
}
_BY_PHRASE = tuple(
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (
        ("unknown_address", r"(unknown|no such|invalid) (user|recipient|mailbox|address|person|account)"),
        (
            "unknown_address",
            r"(user|recipient|mailbox|address|account|domain)\b.{0,40}(unknown|not found|n[o']t exist)",
        ),
        ("unknown_address", r"no mailbox here|recipient address rejected: access denied"),
        ("mailbox_full", r"(mailbox|quota|storage).{0,30}(full|exceeded)|over ?quota"),
        ("mailbox_disabled", r"(mailbox|account|user)\b.{0,40}(disabled|suspended|inactive|deactivated)"),
        ("too_large", r"too (big|large)|exceeds.{0,30}size"),
        ("refused_by_policy", r"spam|block(ed|list)|blacklist|policy|reputation|dmarc|spf\b"),
    )
)
_ADDRESS = re.compile(r"[^\s<>@]*@[^\s<>@]+")
_SHOWN = 200


def why(said: str, status: str | None = None) -> str:
    """The reason; `status` is the code where a report names it apart from what the server said."""
    for code in (status, *ENHANCED.findall(said)):
        _, _, detail = (code or "").partition(".")
        if reason := _BY_DETAIL.get(detail):
            return reason
        if detail.startswith("7."):
            return "refused_by_policy"
    return next((reason for reason, phrase in _BY_PHRASE if phrase.search(said)), "undeliverable")


def shown(said: str, recipient: str = "") -> str:
    """What a server said, on one line and cut short. Servers like to repeat the address, and a reason is shown to more
    people than it is: whatever looks like one is left out, and the recipient's name on their server too."""
    said = said.replace(recipient, "…") if recipient else said
    if "@" in said:
        said = _ADDRESS.sub("…", said)
    name = recipient.partition("@")[0]
    if name and name.lower() in said.lower():  # a pattern of its own for each mail would cost more than the mail
        said = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", said, flags=re.IGNORECASE)
    return " ".join(said.split())[:_SHOWN]
