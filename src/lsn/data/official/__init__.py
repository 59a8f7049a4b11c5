"""Data sets in the form that their authors publish them: annotations to manifests."""

from lsn.data.official.datasets import DATASETS, Annotations, OfficialDataset, read_annotations
from lsn.data.official.prepare import Prepared, prepare

__all__ = ["DATASETS", "Annotations", "OfficialDataset", "Prepared", "prepare", "read_annotations"]
