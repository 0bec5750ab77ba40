"""Calls of a model, recorded by hand, with tokens, cost and a growing conversation."""

from decimal import Decimal

import agentops_local as agentops
from agentops_local.event import ErrorEvent, LLMEvent
from agentops_local.session import EndState

agentops.init()

messages = [{"role": "system", "content": "Be brief."}]
for question, answer in (("Who?", "Me."), ("Where?", "Here."), ("When?", "Now.")):
    messages.append({"role": "user", "content": question})
    event = LLMEvent(prompt=messages, model="gpt-4o-mini", params={"temperature": 0})
    event.completion = {"role": "assistant", "content": answer}
    event.prompt_tokens, event.completion_tokens = len(messages) * 4, 2
    event.cost = Decimal("0.0001")
    agentops.record(event)
    messages.append(event.completion)

failed = LLMEvent(prompt="too long", model="gpt-4o-mini")
agentops.record(ErrorEvent(trigger_event=failed, error_type="RateLimit", code="429", details="slow down"))

assert agentops.end_session(EndState.SUCCESS) == "0.000300"
