"""The shortest program: a session, some events by hand, an end."""

import agentops_local as agentops

agentops.init(default_tags=["quick-start"])

agentops.record(agentops.ActionEvent("greeting", params={"name": "Ada"}, returns="Hello, Ada"))
agentops.record(agentops.ActionEvent(action_type="looked up", logs="nothing found"))
agentops.record(agentops.ToolEvent(name="search", params={"query": "weather"}, returns=["sunny"]))
try:
    raise TimeoutError("the weather service is slow")
except TimeoutError as error:
    agentops.record(agentops.ErrorEvent(exception=error, code="504"))

agentops.add_tags(["weather"])
agentops.end_session("Success", end_state_reason="greeted")
