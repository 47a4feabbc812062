"""Machines that are played around a law: what newcomers, tests and whoever checks the statistics measure.

door        what measures under a profile, the real thing or this
presets     virtual devices by name, and with any simulator as their law
machine, timeline   a clock of its own, noise, drift, heat, faults; what it took at each moment
sensors     power sensors of each kind, as coarse, as slow and as far off as real ones
load        a workload that runs and rests there
process     the real runner, by the machine's clock
bench       the law's costs on their way to it

Their numbers are no board's, and say so: ``MARK`` in ``presets``.
"""
