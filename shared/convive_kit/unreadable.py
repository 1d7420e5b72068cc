"""Messages whose properties cannot be decoded, such as a content type that is no UTF-8 or a time beyond the calendar.

The client's decoder gives up on them, which ends the connection; the broker delivers the same message again, and so on
for ever, with everything that waits behind it. So the decoder is taught to go on: such a message comes with the
properties left out and what they were as bytes in a header, and is judged by its body like any other.
"""

from __future__ import annotations

import struct
from functools import cache

from pamqp import commands, decode, header

RAW_PROPERTIES = "x-convive-unreadable-properties"
_FIXED = struct.Struct(">HHQ")
_KEPT = 1024


@cache
def let_unreadable_messages_in() -> None:
    """Have this process's AMQP decoder go on where it would give up; safe to repeat."""
    decode.METHODS["shortstr"] = _short_text
    unmarshal = header.ContentHeader.unmarshal

    def unmarshal_whatever_comes(self: header.ContentHeader, data: bytes) -> None:
        try:
            unmarshal(self, data)
        except (ValueError, OverflowError, OSError, struct.error):
            self.class_id, self.weight, self.body_size = _FIXED.unpack_from(data)
            raw = bytes(data[_FIXED.size : _FIXED.size + _KEPT])
            self.properties = commands.Basic.Properties(headers={RAW_PROPERTIES: raw})

    header.ContentHeader.unmarshal = unmarshal_whatever_comes


def _short_text(value: bytes) -> tuple[int, str]:
    """A short string of the protocol (AMQP 0-9-1, 4.2.5.3): a routing key, say, which its publisher chose."""
    end = 1 + value[0]
    return end, bytes(value[1:end]).decode("utf-8", "replace")
