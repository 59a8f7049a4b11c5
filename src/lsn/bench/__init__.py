"""How fast a model is on the machine at hand, in training, in test, on a stream, and in reading videos."""

from lsn.bench.model import PARTS, Bench, measure
from lsn.bench.timing import Figure

__all__ = ["PARTS", "Bench", "Figure", "measure"]
