"""Guards: what moves on a board while it measures, and whether a time counts.

found       files and programs that tell, found by name
snapshot    one look at them; what could not be read is None, never a number
judging     two looks and those between → faults
cooling     waiting until a board is as cool as before
watch       looks from time to time, in a thread

Nothing is changed here, and a machine that has none of these sources is not watched at all.
"""

from .judging import judge
from .watch import BoardWatch, board_watch

__all__ = ["BoardWatch", "board_watch", "judge"]
