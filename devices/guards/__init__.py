"""Guards: what moves on a board while it measures, and whether a time counts.

found       files and programs that tell, found by name
snapshot    one look at them; what could not be read is None, never a number
nvidia      what NVML says of a GPU: why its clock is low, and who else is there
judging     two looks and those between → faults
meanwhile   the same looks → numbers that stay with a measurement
cooling     waiting until a board is as cool as before
quiet       waiting until other programs leave it alone
coverage    what of all this a board has, and what it costs that it lacks the rest
watch       looks from time to time, in a thread

Nothing is changed here, and a machine that has none of these sources is not watched at all.
"""

from .judging import judge
from .watch import BoardWatch, board_watch

__all__ = ["BoardWatch", "board_watch", "judge"]
