"""Two sessions at once, each with its own events."""

import agentops_local as agentops
from agentops_local import ActionEvent, LLMEvent, Session, record_action

agentops.init(auto_start_session=False)
first = agentops.start_session(tags=["first"])
second = agentops.start_session(tags=["second"])
assert first is not None
assert second is not None


@record_action("work")
def work(word: str) -> str:
    """Says a word, in whichever session it is told to."""
    return word.upper()


@record_action("chat")
def chat(prompt: str, session: Session | None = None) -> None:
    """Records a call of a model in the session it is given."""
    assert session is not None
    session.record(LLMEvent(prompt=prompt, completion="fine", cost=0.002))


first.record(ActionEvent("by hand"))
work("one", session=first)  # type: ignore[call-arg]  # the decorator takes it
work("two", session=second)  # type: ignore[call-arg]  # the same
chat("how are you", session=second)
with first:
    agentops.record(ActionEvent("in the block"))
second.patch(work)("three")
second.create_agent("helper", None)

analytics = second.get_analytics()
assert analytics is not None
assert analytics["LLM calls"] == 1
first.end_session("Success")
assert second.end_session("Fail", end_state_reason="ran out of words") == "0.002000"
