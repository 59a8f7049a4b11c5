"""Manifests of labelled clips, the checks on them, and batches."""

from lsn.data.checks import check_manifest, check_manifests
from lsn.data.clips import Clip, Manifest, Problem, raise_on_errors
from lsn.data.dataset import Batch, ClipDataset, MakeViews, Sample
from lsn.data.describe import Description, OpenedClips, Spread, describe, thinned
from lsn.data.labels import read_labels
from lsn.data.loader import ClipLoader, make_loader
from lsn.data.manifest import parse_manifest, read_manifest
from lsn.data.probe import Probe, probe
from lsn.data.splits import check_splits, load_splits, split_manifest
from lsn.data.windows import open_clip

__all__ = [
    "Batch",
    "Clip",
    "ClipDataset",
    "ClipLoader",
    "Description",
    "MakeViews",
    "Manifest",
    "OpenedClips",
    "Probe",
    "Problem",
    "Sample",
    "Spread",
    "check_manifest",
    "check_manifests",
    "check_splits",
    "describe",
    "load_splits",
    "make_loader",
    "open_clip",
    "parse_manifest",
    "probe",
    "raise_on_errors",
    "read_labels",
    "read_manifest",
    "split_manifest",
    "thinned",
]
