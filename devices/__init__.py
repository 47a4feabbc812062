"""Boards and hosts: what a machine is, and the agent that works off jobs on it, by the standard library alone.

host, host_stage    what a machine is, and what measurements on it stand on
boards/             which board it is, recordings of boards
agent               the one loop that works off jobs, in process or on a board
service, agent_loop, lease_work, lease_source, lease_hold, leased_work, heartbeat   an agent's life, and a lease
spool, outbox, recovery         what is kept on the board until the hub has it; what a dead process left
hub_client, hub_connection, backoff, model_cache   how the hub is spoken to
agent_home, enrolling, offers, systemd_unit, told   its folder, how it comes to a hub, what it offers
gpu_memory, nvml    what a process holds on NVIDIA's GPUs, and the library that tells
guards/             what moves on a board while it measures, and whether a time counts
control/            settings applied by name, for as long as is measured, and restored
simulators/, virtual/    devices that exist as a program: laws, and machines that are played around them
"""
