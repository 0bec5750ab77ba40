"""Which libraries are recorded, and by which instrumentor: its candidates in the order in which they are tried.

What is said here was tried with the real libraries; the versions that an instrumentor can see are its own word, in the
metadata of its distribution. So one can tell what is recorded without loading any of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """An instrumentor.

    Attributes:
        distribution: what is to be installed.
        module, name: where its class is.
        extra: the extra of ours that brings it.
    """

    distribution: str
    module: str
    name: str
    extra: str


@dataclass(frozen=True)
class Library:
    """A library that makes LLM calls.

    Attributes:
        distribution: its name in the package index.
        trigger: the module after whose import it can be instrumented.
        candidates: in the order in which they are tried; none: it makes spans itself, or cannot be recorded.
        remark: what else there is to know.
        is_framework: whether it makes its calls by the libraries of others; what is seen of it are agents and tools.
    """

    distribution: str
    trigger: str
    candidates: tuple[Candidate, ...] = ()
    remark: str = ""
    is_framework: bool = False


SDK = "opentelemetry-sdk"  # which every candidate needs


def _official(library: str, name: str, extra: str) -> Candidate:
    base = f"opentelemetry-instrumentation-{library}"
    return Candidate(
        base, f"opentelemetry.instrumentation.{library.replace('genai-', 'genai.').replace('-', '_')}", name, extra
    )


def _openinference(library: str, name: str, extra: str = "providers") -> Candidate:
    module = f"openinference.instrumentation.{library.replace('-', '_')}"
    return Candidate(f"openinference-instrumentation-{library}", module, name, extra)


def _framework(distribution: str, trigger: str, *candidates: Candidate) -> Library:
    return Library(distribution, trigger, candidates, is_framework=True)


LIBRARIES: tuple[Library, ...] = (
    Library("openai", "openai", (
        _official("genai-openai", "OpenAIInstrumentor", "otel"), _openinference("openai", "OpenAIInstrumentor"))),
    Library("anthropic", "anthropic", (
        _official("genai-anthropic", "AnthropicInstrumentor", "otel"),
        _openinference("anthropic", "AnthropicInstrumentor"))),
    Library("google-genai", "google.genai", (
        _official("google-genai", "GoogleGenAiSdkInstrumentor", "otel"),
        _openinference("google-genai", "GoogleGenAIInstrumentor"))),
    # A namespace package: its own import runs no code that a hook could wait for.
    Library("mistralai", "mistralai.client", (_openinference("mistralai", "MistralAIInstrumentor"),)),
    Library("cohere", "cohere", (_openinference("cohere", "CohereInstrumentor"),)),
    Library("groq", "groq", (_openinference("groq", "GroqInstrumentor"),)),
    Library("ollama", "ollama", (_openinference("ollama", "OllamaInstrumentor"),)),
    Library("litellm", "litellm", (_openinference("litellm", "LiteLLMInstrumentor"),)),
    Library("ai21", "ai21", remark="no instrumentor is kept for it; its OpenAI-compatible address is recorded"),
    _framework("langchain-core", "langchain_core",
               _official("genai-langchain", "LangChainInstrumentor", "langchain"),
               _openinference("langchain", "LangChainInstrumentor", "langchain")),
    _framework("openai-agents", "agents",
               _official("genai-openai-agents", "OpenAIAgentsInstrumentor", "openai-agents"),
               _openinference("openai-agents", "OpenAIAgentsInstrumentor", "openai-agents")),
    _framework("llama-index-core", "llama_index.core",
               _official("genai-llama-index", "LlamaIndexInstrumentor", "llama-index"),
               _openinference("llama-index", "LlamaIndexInstrumentor", "llama-index")),
    _framework("crewai", "crewai", _openinference("crewai", "CrewAIInstrumentor", "crewai")),
    _framework("autogen-agentchat", "autogen_agentchat",
               _openinference("autogen-agentchat", "AutogenAgentChatInstrumentor", "autogen")),
    _framework("ag2", "autogen", _openinference("ag2", "AG2Instrumentor", "ag2")),  # up to 0.x, as it says itself
    _framework("smolagents", "smolagents", _openinference("smolagents", "SmolagentsInstrumentor", "smolagents")),
    _framework("pydantic-ai-slim", "pydantic_ai",
               Candidate("pydantic-ai-slim", "agentops_local.instrumentation.natives", "PydanticAI", "otel")),
    _framework("google-adk", "google.adk", _openinference("google-adk", "GoogleADKInstrumentor", "google-adk")),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Whether a library is recorded.

    Attributes:
        about: the library, in the version that is installed.
        version: of the library.
        candidate: what records it; None: nothing does, or it needs nothing.
        reason: why nothing does, or what else there is to know.
    """

    about: Library
    version: str
    candidate: Candidate | None
    reason: str


def survey() -> Iterator[Verdict]:
    """Each installed library, and what records it."""
    for library in LIBRARIES:
        version = version_of(library.distribution)
        if version is not None:
            fitting = next(usable(library), None)
            yield Verdict(library, version, fitting, library.remark or ("" if fitting else why_not(library)))


def usable(library: Library) -> Iterator[Candidate]:
    """The candidates that are installed and can see the library's installed version, in their order."""
    if version_of(SDK) is None:
        return
    for candidate in library.candidates:
        if version_of(candidate.distribution) is not None and not conflict(candidate, library):
            yield candidate


def why_not(library: Library) -> str:
    """Why no candidate can be used, and what to do."""
    version = version_of(library.distribution)
    if version_of(SDK) is None:
        return f"pip install 'agentops-local[{library.candidates[0].extra}]'" if library.candidates else library.remark
    told = []
    for candidate in library.candidates:
        found = version_of(candidate.distribution)
        if found is not None:
            told.append(f"{candidate.distribution} {found} sees {conflict(candidate, library)}, not {version}")
    missing = next((candidate for candidate in library.candidates if version_of(candidate.distribution) is None), None)
    if missing is not None:
        told.append(f"pip install 'agentops-local[{missing.extra}]'")
    return "; ".join(told)


def version_of(distribution: str) -> str | None:
    """The installed version; None if it is not installed."""
    from importlib import metadata  # it loads what reads mail: not in a program that makes no calls

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def conflict(candidate: Candidate, library: Library) -> str | None:
    """The versions of the library that an instrumentor says it can see, if the installed one is not among them."""
    from importlib import metadata

    from packaging.requirements import Requirement  # comes with the instrumentors
    from packaging.utils import canonicalize_name

    version = version_of(library.distribution)
    wanted = canonicalize_name(library.distribution)
    for text in metadata.requires(candidate.distribution) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        # An extra named "instruments" is how OpenTelemetry's instrumentors say what they can see.
        if canonicalize_name(requirement.name) != wanted or marker is None or "instruments" not in str(marker):
            continue
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            return str(requirement.specifier)
    return None
