"""Power sensors, found by name and read by themselves: ``find_sensors`` says what there is, ``open_meter`` opens it.

rails               which rails of which boards make up the whole
ina3221, ina2xx, pmic, rapl, nvml   what is read, each with its errors
external            a program that prints readings
pace                what a reading costs, and how often there may be one
sampler             reads a sensor in a thread: every reading with its time
survey              what `doctor` says of them
discovery           all of them, and what is missing
contract            what a meter of one's own must do, as tests

A reading that failed is counted and never a number. Standard library only; NVML where its package is installed.
"""

from .discovery import FoundSensors, find_sensors, meter_names, open_meter

__all__ = ["FoundSensors", "find_sensors", "meter_names", "open_meter"]
