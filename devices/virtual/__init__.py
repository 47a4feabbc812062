"""Machines that exist as a program, with a clock of their own: what is measured on them can be held against the truth.

power       a board that runs and rests by a law of power, and a sensor that reads it with all of a sensor's errors
presets     sensors as real ones are, one of each kind, and boards that never were

A simulator (``devices/simulators``) is a law; the rest plays a machine around one, which is measured as a board is:

catalogue   virtual devices by name, and with any simulator as their law
machine, timeline   its noise, drift, heat and faults; what it took at each moment
sensors     a sensor of any kind at such a machine
load        a workload that runs and rests there
process     the real runner, by the machine's clock
bench, door the law's costs on their way to it; what measures under a profile, the real thing or this
trials      hundreds of sessions, and how their energies came out

Nothing sleeps: hours take seconds. Their numbers are no board's, and say so: ``MARK`` in ``catalogue``.
"""
