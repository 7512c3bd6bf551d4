"""pgsupctl: looks at the clusters and gives orders, by way of the daemon's control socket.

An administrator calls it hundreds of times a day, and scripts call it in loops, so its start-up time is part of
what it does: `arguments` says what can be asked, and only the module of the command that was asked for is imported
(`main`). Nothing of the daemon ever is. `table` and `screen` are what the commands print with: pure text, and
what kind of place it goes to.

No start imports `typing`, which takes longer than argparse: `pgsupervisor.shapes` has what is needed of it.

Whatever the daemon says is escaped before a person sees it: a log line or a reason may hold what somebody typed
into a database, and a terminal obeys escape sequences.
"""
