"""Boards and hosts: what a machine is (host) and the one loop that works off jobs on it (agent)."""
