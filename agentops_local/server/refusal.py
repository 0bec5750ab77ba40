"""What a client is told when its request cannot be done."""

from __future__ import annotations


class Refusal(Exception):
    """A request is refused.

    Args:
        status: the HTTP status, 400 to 503.
        message: why, in words for the client's author.
        retry_after: seconds after which it is worth trying again; None: no promise.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


class BadInput(Refusal):
    """Something in the body, the path or a header is not as it must be: 400."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class NotAuthentic(Refusal):
    """The token does not say who is asking: 401."""

    def __init__(self, message: str) -> None:
        super().__init__(401, message)
