"""Energy of one run: what a meter says while a graph runs again and again, and while it waits in between.

meter       what a power meter is to this room, and what is known of its errors
trace       its readings in time, and the mean power between two moments
windows     how long to run, how long to rest, and which windows count
estimate    windows → millijoules of a run, chance and system apart
session     the windows of one workload, until they agree
measure     workloads → measurements, by a runner of its own

Only ``measure`` knows the runner: whatever can run and rest by the clock of a meter can be measured. Standard library
only: boards load this.
"""
