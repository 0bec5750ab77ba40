"""Two agents, a researcher and a writer, who work for each other."""

import agentops_local as agentops
from agentops_local import LLMEvent, record_action, record_tool, track_agent


@track_agent(name="researcher")
class Researcher:
    """Looks things up."""

    @record_tool("library")
    def look_up(self, topic: str) -> str:
        """Finds a book."""
        return f"a book about {topic}"

    def research(self, topic: str) -> str:
        """Asks a model about what was found."""
        found = self.look_up(topic)
        event = LLMEvent(prompt=f"Summarise {found}", model="gpt-4o")
        event.completion = f"{topic} in short"
        agentops.record(event)
        return f"{topic} in short"


@track_agent()
class Writer:
    """Writes, with somebody's help."""

    def __init__(self, role: str, helper: Researcher) -> None:
        self.role = role
        self.helper = helper

    @record_action("write")
    def write(self, topic: str) -> str:
        """Has the topic researched, and writes."""
        summary = self.helper.research(topic)
        agentops.record(LLMEvent(prompt=f"Write about {summary}", completion="Once upon a time", model="gpt-4o"))
        return "Once upon a time"


agentops.init()
researcher = Researcher()
writer = Writer("novelist", researcher)
critic = Researcher(agentops_name="critic")  # type: ignore[call-arg]  # the decorator takes it
writer.write("bees")
critic.research("style")
agentops.record(agentops.ActionEvent("nobody's"))
agentops.end_session("Success")
