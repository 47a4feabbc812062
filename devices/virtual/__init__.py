"""Machines that exist as a program, with a clock of their own: what is measured on them can be held against the truth.

power       a board that runs and rests by a law of power, and a sensor that reads it with all of a sensor's errors
presets     sensors as real ones are, one of each kind, and boards that never were

A simulator (``devices/simulators``) is a law; this plays the machine around one. Nothing sleeps: hours take seconds.
"""
