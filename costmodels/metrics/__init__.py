"""Quantities beside latency, each with its own unit, rows and predictors.

metric, judgement                           which there are, and what predictions of any of them are worth
energy, energy_predictor, energy_training   millijoules: they add up over kernels, as time does
live_bytes, peak_memory, memory_*           the peak of whole networks, which does not add up
"""
