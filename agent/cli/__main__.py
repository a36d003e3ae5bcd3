"""`python -m agent.cli`: the `goodpart` command, for child processes of this interpreter."""

from agent.cli import main

main()
