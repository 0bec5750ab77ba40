"""The demo: a small agent at real work on this machine, recorded, killed in part, and counted. No network.

| module | holds |
|---|---|
| `tour` | the steps that `agentops-local demo` goes through |
| `logs` | the folder of log files the agent works on, and the faults planted in it |
| `planner`, `worker` | the agent: programs of their own, as a user would write them |
| `crew` | the planner's hold on its worker processes |
| `adrift` | another agent, which dies without a word |
| `rules` | what stands in for the language model |
| `ledger` | what the processes were acknowledged, kept apart from the database and compared with it |
"""
