"""What the console's forms send."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

Reason = Annotated[str, Field(max_length=500)]


class Form(BaseModel):
    """Browsers and their extensions add fields: what is unknown is ignored. What was left empty was not given."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_empty(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        fields = cast("dict[str, Any]", given)
        return {name: value for name, value in fields.items() if value not in ("", [""])}
