"""Devices that are programs: what a simulator says, kept as what it is, and cost models in front of slow ones.

answer       what it said beside a latency
simulation   ask, keep, read back
law          the law of a virtual device as a price
proxy        fit, and judge on networks the proxy never saw
"""
