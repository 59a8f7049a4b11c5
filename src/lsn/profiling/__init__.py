"""How fast a model is on the machine at hand, in training, in test, on a stream, and in reading videos."""

from lsn.profiling.model import PARTS, Bench, measure
from lsn.profiling.timing import Figure

__all__ = ["PARTS", "Bench", "Figure", "measure"]
