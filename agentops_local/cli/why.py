"""`agentops-local why`: why a run failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from agentops_local.cli.common import (
    Settings,
    complete_session,
    db_option,
    examples,
    json_option,
    print_json,
    screen_width,
    styled,
)  # fmt: skip
from agentops_local.cli.sessions import COLOURS, how_it_ended
from agentops_local.cli.text import clean, cut, many, moment, offset, one_line, wrap
from agentops_local.figures import seconds

if TYPE_CHECKING:
    from agentops_local.analytics.one_session.failures import Failure
    from agentops_local.analytics.one_session.steps import Step
    from agentops_local.analytics.one_session.why import Cause, Tries, Why
    from agentops_local.analytics.owners import Owner

_SHOWN = 10  # errors and processes in a list
_TEXT = 1_200  # characters of a text that are shown
_TRACEBACK = 12  # lines


@click.command(
    epilog=examples(
        "agentops-local why last",
        "agentops-local why 0197a1b2",
        "agentops-local why last --json | jq '.cause | [.error_type, .message]'",
    )
)
@click.argument("session", shell_complete=complete_session)
@json_option
@db_option
@click.pass_obj
def why(settings: Settings, session: str, as_json: bool) -> None:
    """Tell why a run failed.

    SESSION is the beginning of its id, or `last` for the newest.

    The cause is the first error that the run did not get over: what failed then never worked again later. It is told
    with what failed, what led there, and what followed. Of a run without such an error it is told what came last; of
    one that succeeded, which errors it got over.
    """
    from agentops_local.analytics.one_session.why import why as ask

    found = ask(session, db=settings.path())
    if as_json:
        print_json(found.to_json())
    else:
        click.echo("\n".join(_told(found, settings.utc)))


def _told(found: Why, utc: bool) -> Iterator[str]:
    yield styled(f"Session {found.session.id}", bold=True)
    for line in wrap(_verdict(found, utc), screen_width(), "  "):
        yield styled(line, fg=COLOURS.get(found.session.state))
    yield from _processes(found, utc)
    began = found.session.init_us
    if found.cause is not None:
        yield from _cause(found.cause, began)
    yield from _rest(found, began)
    if (found.cause is None or found.cause.error.recovered) and found.verdict != "success":
        yield from _came_last(found, began)


def _verdict(found: Why, utc: bool) -> str:
    one, errors = found.session, found.session.counts.kinds["errors"]
    reason = f": {one.end_state_reason}" if one.end_state_reason else ""
    after = seconds(one.duration_s)
    if found.verdict == "running":
        last = one.last_event
        doing = f"; the last event was {last.kind} {last.name or ''}".rstrip() if last else "; no event yet"
        text = f"It is still running, since {moment(one.init_us, utc)}{doing}"
    elif found.ended_by is None:
        text = how_it_ended(one, utc)
    else:
        by = "by the program" if found.ended_by == "program" else "by the exit of its last process, not by a word of it"
        text = f"{one.end_state} after {after}, ended {by}{reason}"
    if not errors:
        return f"{text}. No error was recorded."
    if found.verdict == "success":
        return f"{text}. It succeeded in spite of {many(errors, 'error')}."
    return f"{text}. {many(errors, 'error')}."


def _processes(found: Why, utc: bool) -> Iterator[str]:
    """The processes that went without a word, or by an exception."""
    told = [text for owner in found.owners if (text := _fate(owner, found, utc))]
    for text in told[:_SHOWN]:
        yield from wrap(text, screen_width(), "    ", "  ")
    if len(told) > _SHOWN:
        yield f"  and {len(told) - _SHOWN:,} more (--json has them all)"


def _fate(owner: Owner, found: Why, utc: bool) -> str:
    name = f"process {owner.identity.pid}" + (f" ({owner.program})" if owner.program else "")
    if owner.exit == "error":
        return f"{name} ended at {moment(owner.end_us, utc)} by an exception that nobody caught"
    if owner.end_us is not None:
        return ""
    life = owner.life().value
    if life == "dead":
        return f"{name} died without a word: killed, out of memory, or the machine went down"
    if life == "alive":
        return f"{name} is alive"
    return f"{name} cannot be seen from here" if found.verdict == "unknown" else ""


def _cause(cause: Cause, began: int) -> Iterator[str]:
    error = cause.error
    yield ""
    title = f"{error.error_type or 'error'}" + (f" (code {error.code})" if error.code else "")
    yield styled(one_line(f"{title}  {offset(error.init_us - began)}{_of(cause.agent)}"), fg="red", bold=True)
    yield from _block(error.message or "(no message)", "  ")
    if error.recovered:
        yield "  The run got over it, as over all others: what came last is told below."
    if error.before:
        yield f"  The same error had happened {many(error.before, 'time')} before, and was got over."
    if cause.again:
        yield f"  The same error happened {many(cause.again, 'time')} afterwards."
    if cause.logs:
        lines = clean(cause.logs).rstrip().split("\n")
        yield from _named("traceback" if "Traceback" in cause.logs else "logs", "\n".join(lines[-_TRACEBACK:]), "  ")
    yield from _failed(cause, began)
    if cause.chain:
        yield from _head("In the course of")
        for depth, step in enumerate(reversed(cause.chain[:_SHOWN])):
            yield cut(f"  {'  ' * min(depth, 8)}{_line(step, began)}{_said(step.given, ' ')}", screen_width())
    if cause.tries is not None and cause.tries.times:
        yield from _tries(cause.tries, began)
    if cause.last_llm is not None:
        yield from _head(f"The LLM call before: {_line(cause.last_llm, began)}")
        yield from _named("asked", cause.last_llm.given, "  ")
        yield from _named("said", cause.last_llm.got, "  ")


def _failed(cause: Cause, began: int) -> Iterator[str]:
    step, error = cause.trigger, cause.error
    if step is not None:
        yield from _head(f"What failed: {_line(step, began)}")
        yield from _named("asked", step.given, "  ")
        yield from _named("gave", step.got, "  ")
    elif error.trigger_id is not None:
        yield from _head(f"What failed: an event of kind {error.trigger_kind or '?'} that was not recorded")


def _tries(tries: Tries, began: int) -> Iterator[str]:
    failed = f", {tries.failed:,} in vain" if tries.failed else ", all of which worked"
    yield from _head(f"The same tool before: {many(tries.times, 'call')}{failed}")
    for step, in_vain in tries.last:
        mark = "failed" if in_vain else "worked"
        text = f"  {offset(step.init_us - began)} {mark}{_said(step.given, '  ')}{_said(step.got, '  → ')}"
        yield styled(f"  {cut(one_line(text), screen_width() - 2)}", fg="red" if in_vain else None)


def _rest(found: Why, began: int) -> Iterator[str]:
    """The other errors, in the order in which they happened."""
    if found.cause is not None:
        yield from _listed("It passed on to what stands around", found.cause.follows, began)
        yield from _listed("Later errors", found.others, began)
    skipped = 0 if found.cause is None else found.cause.error.seq
    over = [failure for failure in found.recovered if failure.seq != skipped]
    yield from _listed("Errors that the run got over", over, began)
    looked, all_of_them = len(found.errors), found.session.counts.kinds["errors"]
    if looked < all_of_them:
        yield ""
        yield f"The first {looked:,} of {all_of_them:,} errors were looked at."


def _listed(title: str, errors: Sequence[Failure], began: int) -> Iterator[str]:
    if not errors:
        return
    yield from _head(f"{title}: {len(errors):,}")
    for failure in errors[:_SHOWN]:
        again = f" (as {failure.before:,} before)" if failure.before and not failure.outer else ""
        doing = f" in {failure.doing[0]} {failure.doing[1]}".rstrip() if failure.doing[0] else ""
        text = f"{offset(failure.init_us - began)} {failure.error_type or 'error'}{doing}{again}: {failure.message}"
        yield cut(f"  {one_line(text)}", screen_width())
    if len(errors) > _SHOWN:
        yield f"  and {len(errors) - _SHOWN:,} more (--json has them)"


def _came_last(found: Why, began: int) -> Iterator[str]:
    times, complaints = found.complaints
    if times:
        yield from _head(f"Results of tools that begin with an error: {times:,}")
        for one in complaints:
            text = f"{offset(one.init_us - began)} {one.name or ''}{_said(one.given, ' ')}{_said(one.got, ' → ')}"
            yield cut(f"  {one_line(text)}", screen_width())
    for title, step in (("The last LLM call", found.last_llm), ("The last tool call", found.last_tool)):
        if step is not None:
            yield from _head(f"{title}: {_line(step, began)}")
            yield from _named("asked", step.given, "  ")
            yield from _named("said" if step.kind == "llms" else "gave", step.got, "  ")


def _line(step: Step, began: int) -> str:
    took = "" if step.end_us is None else f", took {seconds((step.end_us - step.init_us) / 1e6)}"
    return one_line(f"{step.kind} {step.name or ''}  {offset(step.init_us - began)}{took}{_of(step.agent)}")


def _of(agent: str | None) -> str:
    return "" if agent in (None, "Default Agent") else f", agent {agent}"


def _said(text: str | None, before: str) -> str:
    return f"{before}{one_line(text)}" if text else ""


def _head(text: str) -> Iterator[str]:
    yield ""
    yield styled(cut(one_line(text), screen_width()), bold=True)


def _named(name: str, text: str | None, indent: str) -> Iterator[str]:
    """A text under its name; on the same line where it has room."""
    if text is None:
        return
    line = one_line(text)
    if "\n" not in text.strip() and len(f"{indent}{name}: {line}") <= screen_width():
        yield f"{indent}{styled(f'{name}:', dim=True)} {line}"
        return
    yield f"{indent}{styled(f'{name}:', dim=True)}"
    yield from _block(text, f"{indent}  ")


def _block(text: str, indent: str) -> Iterator[str]:
    shown = clean(text)
    for line in cut(shown, _TEXT).rstrip().split("\n"):
        yield from wrap(line, screen_width(), indent) if len(line) + len(indent) > screen_width() else (indent + line,)
