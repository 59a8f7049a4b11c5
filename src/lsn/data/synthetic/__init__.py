"""Data sets that come with LSN: videos rendered on the spot, whose classes only the order of frames can tell."""

from lsn.data.synthetic.write import SyntheticSet, write_synthetic

__all__ = ["SyntheticSet", "write_synthetic"]
