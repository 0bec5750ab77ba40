"""What each fault does to one request and its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tests.fakes.agentops_api.faults import Fault
from tests.fakes.wire import Answer, json_answer

PORTAL = b"<!doctype html><title>Wireless network</title><p>Please accept the conditions of this network.</p>"
GATEWAY = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"


class Exchange(Protocol):
    """One request, and what can be done about it."""

    def work(self) -> Answer:
        """Have the request done; the answer is not sent by that."""

    def send(self, answer: Answer, *, cut: int = 0) -> None:
        """Send an answer, without its last bytes if it is to be cut."""

    def reset(self) -> None:
        """Close the connection so that the client gets a reset."""

    def close(self) -> None:
        """Close the connection without another word."""

    def wait(self, seconds: float) -> None:
        """Let time pass, unless the server stops."""

    def later(self, seconds: float | None) -> None:
        """Have the request done some time from now."""

    def refuse(self, seconds: float) -> None:
        """Stop listening for a while."""


def _reset_before(exchange: Exchange, _: Fault) -> None:
    exchange.reset()


def _reset_after(exchange: Exchange, _: Fault) -> None:
    exchange.work()
    exchange.reset()


def _lost_answer(exchange: Exchange, _: Fault) -> None:
    exchange.work()
    exchange.close()


def _hang(exchange: Exchange, fault: Fault) -> None:
    exchange.wait(fault.seconds)
    exchange.close()


def _late(exchange: Exchange, fault: Fault) -> None:
    exchange.later(fault.delay)
    exchange.wait(fault.seconds)
    exchange.close()


def _gateway(fault: Fault) -> Answer:
    return Answer(fault.status or 502, GATEWAY, content_type="text/html")


def _gateway_before(exchange: Exchange, fault: Fault) -> None:
    exchange.send(_gateway(fault))


def _gateway_after(exchange: Exchange, fault: Fault) -> None:
    exchange.work()
    exchange.send(_gateway(fault))


def _portal(exchange: Exchange, _: Fault) -> None:
    exchange.send(Answer(200, PORTAL, content_type="text/html; charset=utf-8"))


def _cut_body(exchange: Exchange, _: Fault) -> None:
    answer = exchange.work()
    exchange.send(answer, cut=max(1, len(answer.body) // 2))
    exchange.close()


def _too_large(exchange: Exchange, _: Fault) -> None:
    exchange.send(Answer(413, b"<html><h1>Request Entity Too Large</h1></html>", content_type="text/html"))
    exchange.close()


def _too_many(exchange: Exchange, fault: Fault) -> None:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    exchange.send(json_answer(429, {"message": "Too Many Requests"})._replace(headers=headers))


def _redirect(exchange: Exchange, fault: Fault) -> None:
    exchange.send(Answer(fault.status or 307, headers={"Location": fault.location}))


def _refuse(exchange: Exchange, fault: Fault) -> None:
    exchange.refuse(fault.seconds)
    exchange.reset()


def _slow(exchange: Exchange, fault: Fault) -> None:
    answer = exchange.work()
    exchange.wait(fault.seconds)
    exchange.send(answer)


EFFECTS: dict[str, Callable[[Exchange, Fault], None]] = {
    "reset_before": _reset_before,
    "reset_after": _reset_after,
    "lost_answer": _lost_answer,
    "hang": _hang,
    "late": _late,
    "502_before": _gateway_before,
    "502_after": _gateway_after,
    "html_200": _portal,
    "cut_body": _cut_body,
    "413": _too_large,
    "429": _too_many,
    "redirect": _redirect,
    "refuse": _refuse,
    "slow": _slow,
}
