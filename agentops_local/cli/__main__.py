"""`python -m agentops_local.cli`: the command without the console script."""

from agentops_local.cli import main

if __name__ == "__main__":
    main()
