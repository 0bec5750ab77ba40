"""What recording adds to a call of OpenAI's library: the same call without us, with the instrumentor alone, with us.

The transport is in this process and answers at once, so that nothing but the library and what stands around it is
measured; each case is a process of its own, and the cases take turns. The instrumentor alone makes spans, with their
content, that nobody receives.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from typing import Any

from benchmarks.common import options, quantile, ready, show, surroundings, together, workplace

CASES = ("plain", "instrumentor", "recorded")
_ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is sunny."}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
}  # fmt: skip


def measure(case: str, calls: int, messages: int, folder: str) -> list[int]:
    """Times of calls in nanoseconds, each with so many messages of 1 kB."""
    import httpx2
    import openai

    if case == "recorded":
        import agentops_local

        agentops_local.init(db=os.path.join(folder, f"{case}-{messages}-{time.time_ns()}.db"))  # noqa: PTH118
    elif case == "instrumentor":
        from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
        from opentelemetry.sdk.trace import TracerProvider

        os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
        OpenAIInstrumentor().instrument(tracer_provider=TracerProvider())
    answer = json.dumps(_ANSWER).encode()
    headers = {"content-type": "application/json"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=answer))
    client = openai.OpenAI(base_url="http://localhost/v1", api_key="k", http_client=httpx2.Client(transport=transport))
    create: Any = client.chat.completions.create
    prompt = [{"role": "user", "content": f"{number} " + "x" * 1000} for number in range(messages)]
    for _ in range(20):
        create(model="gpt-4o", messages=prompt)
    ready()
    times = []
    for _ in range(calls):
        begun = time.perf_counter_ns()
        create(model="gpt-4o", messages=prompt)
        times.append(time.perf_counter_ns() - begun)
    return times


def main() -> None:
    """Measures, and prints ratios."""
    parser = options(__doc__)
    parser.add_argument("--calls", type=int, default=300, help="calls a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case")
    given = parser.parse_args()
    rows: list[list[Any]] = []
    with workplace(given.dir) as folder:
        for messages in (1, 100):
            medians: dict[str, list[float]] = {case: [] for case in CASES}
            for _ in range(given.rounds):
                for case in CASES:
                    (times,) = together("benchmarks.llm_calls:measure", [(case, given.calls, messages, str(folder))])
                    medians[case].append(quantile(times, 0.5))
            best = {case: min(values) for case, values in medians.items()}
            spread = max(max(values) / statistics.median(values) for values in medians.values())
            rows += [
                [f"{messages} messages, {case}", best[case], best[case] / best["plain"],
                 best[case] / best["instrumentor"], spread]
                for case in CASES
            ]  # fmt: skip
    header = ["case", "us", "x plain", "x instrumentor", "spread"]
    if given.json:
        print(json.dumps([dict(zip(header, row, strict=True)) for row in rows]))
        return
    print(surroundings())
    show("A call, p50 of the best round", header, rows)


if __name__ == "__main__":
    main()
