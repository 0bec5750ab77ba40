"""Laws of turning the recording of LLM calls on and off, whatever else the program does."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentops_local
from agentops_local.instrumentation import libraries
from agentops_local.session import Session
from tests.fakes.llm import Answer, LLMServer, Usage
from tests.sdk.records import Records

openai = pytest.importorskip("openai", reason="openai is not installed")
official = pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason="its instrumentor is not installed")

QUESTION: Any = [{"role": "user", "content": "hi"}]


def ask(server: LLMServer) -> None:
    """A call."""
    with openai.OpenAI(base_url=server.openai, api_key="k", max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)


def patched() -> list[object]:
    """What of the libraries may be wrapped, as it is now."""
    import httpx
    import httpx2
    from openai.resources import embeddings, responses
    from openai.resources.chat import completions

    owners = [
        completions.Completions, completions.AsyncCompletions, responses.Responses, responses.AsyncResponses,
        embeddings.Embeddings, embeddings.AsyncEmbeddings, httpx.Client, httpx.AsyncClient, httpx2.Client,
        httpx2.AsyncClient,
    ]  # fmt: skip
    names = ("create", "parse", "stream", "retrieve", "send")
    return [inspect.getattr_static(owner, name, None) for owner in owners for name in names]


def test_everything_is_as_before(server: LLMServer, project: Path) -> None:
    """`stop_instrumenting()` puts back every function that was wrapped, the import system and the environment."""
    before, path, environment = patched(), list(sys.meta_path), dict(os.environ)
    agentops_local.init()
    assert patched() != before
    assert dict(os.environ) == environment
    agentops_local.stop_instrumenting()
    assert patched() == before
    assert sys.meta_path == path


def test_not_wanted(server: LLMServer, project: Path, records: Records) -> None:
    """With `instrument_llm_calls=False` nothing is touched and nothing recorded."""
    before = patched()
    agentops_local.init(instrument_llm_calls=False)
    assert patched() == before
    ask(server)
    assert records.column("SELECT count(*) FROM llms") == [0]


def test_twice(server: LLMServer, session: Session, records: Records) -> None:
    """A second `init()`, as a notebook makes it, wraps nothing a second time."""
    once = patched()
    agentops_local.init()
    assert patched() == once
    ask(server)
    assert records.column("SELECT count(*) FROM llms") == [1]


@pytest.fixture
def users_tracing() -> Iterator[Any]:
    """The program's own tracing, with an instrumentor for OpenAI of its own and the spans that came of it."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = official.OpenAIInstrumentor()
    yield provider, exporter, instrumentor
    agentops_local.stop_instrumenting()  # the outer one first: theirs would be left in the library otherwise
    instrumentor.uninstrument()


@pytest.mark.parametrize("order", ["theirs first", "ours first"])
def test_the_programs_own_instrumentor(order: str, users_tracing: Any, server: LLMServer, project: Path,
                                       records: Records) -> None:  # fmt: skip
    """A program that traces the same calls itself gets its spans as without us, and each call is one event with its
    content, whichever came first."""
    provider, exporter, instrumentor = users_tracing
    if order == "theirs first":
        instrumentor.instrument(tracer_provider=provider)
        agentops_local.init()
    else:
        agentops_local.init()
        instrumentor.instrument(tracer_provider=provider)
    ask(server)
    calls = records.rows("SELECT prompt, completion FROM llms")
    assert [(json.loads(call["prompt"]), json.loads(call["completion"])["content"]) for call in calls] == [
        (QUESTION, "It is sunny.")
    ]
    assert len(exporter.get_finished_spans()) <= 1


PROGRAM = """
import sys
{first}
import openai
{second}
with openai.OpenAI(base_url=sys.argv[1], api_key="k") as client:
    client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "hi"}}])
"""
INIT = "import agentops_local; agentops_local.init()"


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of the project."""
    env = {**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


@pytest.mark.parametrize(("first", "second"), [(INIT, ""), ("", INIT)], ids=["before", "after"])
def test_the_order_of_imports(first: str, second: str, server: LLMServer, records: Records) -> None:
    """A call is recorded whether `init()` comes before the import of the library or after."""
    ended = run(PROGRAM.format(first=first, second=second), server.openai)
    assert ended.returncode == 0, ended.stderr
    assert records.column("SELECT completion IS NOT NULL FROM llms") == [1]


def test_opentelemetry_switched_off(server: LLMServer, records: Records) -> None:
    """A call is recorded though the program's environment switches OpenTelemetry off; none of its settings change."""
    program = (
        PROGRAM.format(first=INIT, second="import os; before = dict(os.environ)") + "assert os.environ == before\n"
    )
    ended = run(program, server.openai, OTEL_SDK_DISABLED="true", OTEL_TRACES_SAMPLER="always_off")
    assert ended.returncode == 0, ended.stderr
    assert records.column("SELECT completion IS NOT NULL FROM llms") == [1]


def test_anthropics_own_spans(server: LLMServer, records: Records) -> None:
    """A library that makes spans of its own, into the program's tracing, is recorded once, with its content; and the
    program gets those spans as without us."""
    pytest.importorskip("anthropic", reason="anthropic is not installed")
    program = f"""
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
if sys.argv[2] == "recorded":
    {INIT}
import anthropic
with anthropic.Anthropic(base_url=sys.argv[1], api_key="k") as client:
    client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=[{{"role": "user", "content": "hi"}}])
print([(span.name, span.parent) for span in exporter.get_finished_spans()])
"""
    plain, recorded = run(program, server.url, "plain"), run(program, server.url, "recorded")
    assert plain.returncode == recorded.returncode == 0, recorded.stderr
    assert recorded.stdout == plain.stdout
    assert [json.loads(one)["content"] for one in records.column("SELECT completion FROM llms")] == ["It is sunny."]


def test_little_is_loaded() -> None:
    """`init()` in a program that makes no LLM calls loads nothing of OpenTelemetry, and no library of a provider."""
    program = (
        f"{INIT}\nimport sys\n"
        "heavy = 'opentelemetry wrapt httpx httpx2 openai anthropic genai_prices asyncio packaging'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run(program).stdout == "[]\n"


def test_threads_that_import_at_once(server: LLMServer, records: Records) -> None:
    """Threads that import libraries at the same time do not wait for one another for ever, and all is recorded."""
    program = f"""
import sys, threading
{INIT}
def load(name):
    __import__(name)
threads = [threading.Thread(target=load, args=(name,)) for name in ("openai", "anthropic", "httpx", "httpx2", "groq")]
[thread.start() for thread in threads]
[thread.join(30) for thread in threads]
assert not any(thread.is_alive() for thread in threads)
import openai
with openai.OpenAI(base_url=sys.argv[1], api_key="k") as client:
    client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "hi"}}])
"""
    ended = run(program, server.openai)
    assert ended.returncode == 0, ended.stderr
    assert records.column("SELECT count(*) FROM llms") == [1]


def test_forked_children(server: LLMServer, session: Session, records: Records) -> None:
    """Calls of forked children are recorded in their parent's session."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    ask(server)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                ask(server)
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert records.column("SELECT count(*) FROM llms") == [4]
    assert records.column("SELECT DISTINCT session_id FROM llms") == [str(session.session_id)]


def test_a_thread(server: LLMServer, session: Session, records: Records) -> None:
    """A thread that was started plainly records into the only session that there is."""
    import threading

    thread = threading.Thread(target=ask, args=(server,))
    thread.start()
    thread.join()
    assert records.column("SELECT session_id FROM llms") == [str(session.session_id)]


def test_a_lone_surrogate(server: LLMServer, session: Session, records: Records) -> None:
    """A prompt that is no proper text spoils no call after it."""
    with openai.OpenAI(base_url=server.openai, api_key="k", max_retries=0) as client:
        try:
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "a\ud800b"}])
        except UnicodeEncodeError:
            pass  # the library's own
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert json.loads(records.column("SELECT prompt FROM llms ORDER BY seq")[-1]) == QUESTION


def test_an_image(server: LLMServer, session: Session, records: Records) -> None:
    """An image that each turn of a conversation repeats is stored once."""
    url = "data:image/png;base64," + "QUJD" * 250_000
    messages: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    with openai.OpenAI(base_url=server.openai, api_key="k") as client:
        for turn in range(3):
            client.chat.completions.create(model="gpt-4o", messages=messages)
            messages = [*messages, {"role": "user", "content": f"and {turn}?"}]
    assert json.loads(records.column("SELECT prompt FROM llms ORDER BY seq")[-1]) == messages[:-1]
    assert len(records.text()) < 3_000_000


def test_a_version_that_nobody_sees(server: LLMServer, project: Path, records: Records, caplog: Any,
                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A library that no instrumentor can see is told of, with what it sees instead, and the program goes on."""
    real = libraries.version_of
    monkeypatch.setattr(libraries, "version_of", lambda name: "99.0" if name == "openai" else real(name))
    agentops_local.init()
    ask(server)
    assert records.column("SELECT count(*) FROM llms") == [0]
    (told,) = [record.getMessage() for record in caplog.records if "openai" in record.getMessage()]
    assert "opentelemetry-instrumentation-genai-openai" in told
    assert "not 99.0" in told


def test_without_the_sdk(server: LLMServer, project: Path, records: Records, caplog: Any,
                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Where a part of what records is missing, the program is told what to install, and goes on."""
    real = libraries.version_of
    monkeypatch.setattr(libraries, "version_of", lambda name: None if name == "opentelemetry-sdk" else real(name))
    agentops_local.init()
    ask(server)
    assert records.column("SELECT count(*) FROM llms") == [0]
    (told,) = {record.getMessage() for record in caplog.records if " of openai are" in record.getMessage()}
    assert told.endswith("the calls of openai are not recorded: pip install 'agentops-local[otel]'")


def test_a_candidate_that_fails(server: LLMServer, project: Path, records: Records,
                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """An instrumentor that fails makes way for the next one, and is counted."""
    monkeypatch.delenv("AGENTOPS_LOCAL_STRICT")

    class Failing(official.OpenAIInstrumentor):  # type: ignore[misc, name-defined]
        def _instrument(self, **_: Any) -> None:
            raise RuntimeError("its own")

    good = official.OpenAIInstrumentor
    monkeypatch.setattr(official, "OpenAIInstrumentor", Failing)
    monkeypatch.setattr(official, "Good", good, raising=False)
    first = next(library for library in libraries.LIBRARIES if library.distribution == "openai")
    second = libraries.Candidate(first.candidates[0].distribution, first.candidates[0].module, "Good", "otel")
    changed = libraries.Library("openai", "openai", (first.candidates[0], second))
    monkeypatch.setattr("agentops_local.instrumentation.switch.LIBRARIES", (changed,))
    agentops_local.init()
    ask(server)
    assert records.column("SELECT count(*) FROM llms") == [1]
    from agentops_local import faults

    assert sum(faults.counts.values()) == 1


def test_the_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each installed library is listed with what records it, or why nothing does and what to install."""
    told = {verdict.about.distribution: verdict for verdict in libraries.survey()}
    assert told["openai"].candidate is not None
    assert told["openai"].candidate.distribution == "opentelemetry-instrumentation-genai-openai"
    real = libraries.version_of
    monkeypatch.setattr(libraries, "version_of", lambda name: None if "instrumentation" in name else real(name))
    told = {verdict.about.distribution: verdict for verdict in libraries.survey()}
    assert told["openai"].candidate is None
    assert told["openai"].reason == "pip install 'agentops-local[otel]'"


def test_the_cost_everywhere(server: LLMServer, session: Session, records: Records) -> None:
    """`end_session()`, `get_analytics()` and the view give one cost."""
    pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    server.answer(Answer(usage=Usage(2_000, 500)), Answer(usage=Usage(2_000, 500)))
    ask(server)
    ask(server)
    analytics = session.get_analytics()
    assert analytics is not None
    assert analytics["Cost"] == session.end_session() == "0.020000"
    assert records.value("SELECT cost FROM session_stats") == 0.02
