"""Campaigns on the boards of a fleet: which boards (pool), what they measure and how far they are (fleet_campaign),
what their measurements say together (pool_samples), and the table of it (pool_lut).
"""
