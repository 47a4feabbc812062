"""Control profiles: named, reversible settings of a board, for as long as it measures.

profiles    what each of them changes, as this board has it
nvpmodel    the power modes of a Jetson
saved       what was before, on the disk before anything is changed
undisturbed signals wait while a board is between two states
control     applies and restores

Nothing here happens unless it is asked for by name, and nothing without the right to.
"""

from .control import Controlled, apply, controlled, restore, restore_leftover, show
from .profiles import PROFILES

__all__ = ["PROFILES", "Controlled", "apply", "controlled", "restore", "restore_leftover", "show"]
