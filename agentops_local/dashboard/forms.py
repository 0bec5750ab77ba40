"""A change as a browser sends it: its fields, read in bounds, and the way back to a page of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import Request

from agentops_local.errors import WrongUse
from agentops_local.server.gate import read_body
from agentops_local.server.refusal import Refusal

MOST = 1 << 19  # bytes of a body; a note of 65,536 characters fits, however it is spelt
_FIELDS = 100


@dataclass(frozen=True)
class Form:
    """The fields of a form."""

    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """A field; None where it is empty or missing."""
        found = self.fields.get(name)
        return found[-1] if found and found[-1].strip() else None

    def all(self, name: str) -> list[str]:
        """All fields of a name that are not empty."""
        return [value for value in self.fields.get(name, ()) if value.strip()]

    def need(self, name: str) -> str:
        """A field.

        Raises:
            WrongUse: it is empty or missing.
        """
        found = self.one(name)
        if found is None:
            raise WrongUse(f"the field {name} is empty: fill it in")
        return found


async def read(http: Request) -> Form:
    """The form that a request brings.

    Raises:
        Refusal: it is none, or too large.
    """
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refusal(415, "a change is sent as a form, application/x-www-form-urlencoded")
    body = await read_body(http.receive, MOST)
    try:
        fields = parse_qs(body.decode("ascii", "replace"), True, max_num_fields=_FIELDS, errors="replace")
    except ValueError as error:
        raise Refusal(400, f"the form has more than {_FIELDS} fields") from error
    return Form(fields)


def way_back(given: str | None, otherwise: str) -> str:
    """Where a browser is sent after a change: a page of ours, whatever the form says. What a browser could take for the
    name of another host is none."""
    if not given or not given.isascii() or not given.isprintable() or "\\" in given:
        return otherwise
    return given if given.startswith("/") and not given.startswith("//") else otherwise
