"""Functions, coroutines and methods whose calls are recorded by decorators."""

import asyncio

import agentops_local as agentops
from agentops_local import record_action, record_tool
from agentops_local.decorators import record_function


@record_tool("multiply")
def multiply(a: float, b: float) -> float:
    """A tool."""
    return a * b


@record_tool(tool_name="divide")
def divide(a: float, b: float) -> float:
    """A tool that can fail."""
    return a / b


@record_function("old_style")
def add(a: float, b: float) -> float:
    """An action, under the decorator's old name."""
    return a + b


class Reporter:
    """A class with decorated methods."""

    @record_action(event_name="report")
    def report(self, numbers: list[int]) -> dict[str, float]:
        """An action that calls tools."""
        return {"product": multiply(*numbers), "sum": add(*numbers)}

    @record_action("publish")
    async def publish(self, text: str) -> int:
        """An action that takes its time."""
        await asyncio.sleep(0)
        return len(text)


agentops.init()
reporter = Reporter()
assert reporter.report([6, 7]) == {"product": 42, "sum": 13}
assert asyncio.run(reporter.publish("done")) == 4
try:
    divide(1, 0)
except ZeroDivisionError:
    pass
agentops.end_session("Success")
