"""The loop that learns: import a folder, train a challenger, certify it, hold it against the champion, promote it.

`importer` brings in images, `run` makes one run from snapshot to verdict, `gate` is the rule that judges it,
`schedule` starts runs in a child process (`job`) when they are due. At most one run at a time among all agents: whoever
trains holds the lease (`holding`), and whoever lost it promotes nothing.
"""
