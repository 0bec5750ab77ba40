"""`python -m agentops_sync` is `agentops-sync`."""

from agentops_sync.cli import main

main()
