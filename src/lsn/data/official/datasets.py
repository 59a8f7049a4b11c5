"""The data sets that can be prepared, and the files that each is published as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lsn.data.official import diving48, something_something
from lsn.data.official.lists import Split
from lsn.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class Layout:
    """One way in which the annotations are published."""

    train: str
    val: str
    labels: str
    read_names: Callable[[Path], tuple[str, ...]]
    read_list: Callable[[Path, tuple[str, ...]], Split]

    def paths(self, folder: Path) -> tuple[Path, Path, Path]:
        """Where the three files are, if they are there."""
        return folder / self.train, folder / self.val, folder / self.labels


@dataclass(frozen=True)
class OfficialDataset:
    """What is known of a data set before its files are seen."""

    title: str
    layouts: tuple[Layout, ...]
    """In the order in which they are looked for."""
    num_classes: int
    num_train: int
    num_val: int
    example: str
    """A video below the folder of videos."""
    published_as_frames: bool = False
    """The videos are folders of JPEG frames."""


_TSN, _TSN_V1, _TSN_V2 = (
    Layout(*names, something_something.read_sorted_names, something_something.read_tsn)
    for names in (
        ("train_videofolder.txt", "val_videofolder.txt", "category.txt"),
        ("v1_train.txt", "v1_val.txt", "labels.txt"),
        ("v2_train.txt", "v2_val.txt", "labels.txt"),
    )
)
_V1 = "something-something-v1"
_V2 = "something-something-v2"

DATASETS: dict[str, OfficialDataset] = {
    _V1: OfficialDataset(
        "Something-Something V1",
        (
            Layout(
                f"{_V1}-train.csv",
                f"{_V1}-validation.csv",
                f"{_V1}-labels.csv",
                something_something.read_names,
                something_something.read_csv,
            ),
            _TSN_V1,
            _TSN,
        ),
        num_classes=174,
        num_train=86_017,
        num_val=11_522,
        example="100218/00001.jpg",
        published_as_frames=True,
    ),
    _V2: OfficialDataset(
        "Something-Something V2",
        (
            Layout(
                f"{_V2}-train.json",
                f"{_V2}-validation.json",
                f"{_V2}-labels.json",
                something_something.read_names,
                something_something.read_json,
            ),
            Layout(
                "train.json",
                "validation.json",
                "labels.json",
                something_something.read_names,
                something_something.read_json,
            ),
            _TSN_V2,
            _TSN,
        ),
        num_classes=174,
        num_train=168_913,
        num_val=24_777,
        example="78687.webm",
    ),
    "diving48": OfficialDataset(
        "Diving48 V2",
        (
            Layout(
                "Diving48_V2_train.json",
                "Diving48_V2_test.json",
                "Diving48_vocab.json",
                diving48.read_vocabulary,
                diving48.read_v2,
            ),
        ),
        num_classes=48,
        num_train=15_027,
        num_val=1_970,
        example="-mmq0PT-u8k_00155.mp4",
    ),
    "diving48-v1": OfficialDataset(
        "Diving48 V1",
        (
            Layout(
                "Diving48_train.json",
                "Diving48_test.json",
                "Diving48_vocab.json",
                diving48.read_vocabulary,
                diving48.read_v1,
            ),
        ),
        num_classes=48,
        num_train=15_943,
        num_val=2_096,
        example="VNvb5oLOpLg_00000.mp4",
    ),
}
"""By the name that `lsn data prepare` takes."""


@dataclass(frozen=True)
class Annotations:
    """The official lists of a data set."""

    dataset: OfficialDataset
    labels: tuple[str, ...]
    train: Split
    val: Split


def read_annotations(name: str, folder: str | Path) -> Annotations:
    """Reads the official files of a data set from a folder.

    Raises:
        ConfigError: an unknown data set.
        DataError: no complete set of files is there, one cannot be read, or the number of classes is wrong.
    """
    if name not in DATASETS:
        raise ConfigError(f"data set {name!r} is not known; {did_you_mean(name, DATASETS)}")
    dataset, folder = DATASETS[name], Path(folder)
    layout = next((way for way in dataset.layouts if way.paths(folder)[0].exists()), None)
    if layout is None:
        known = "; or ".join(f"{way.train}, {way.val} and {way.labels}" for way in dataset.layouts)
        raise DataError(f"{folder}: no annotations of {dataset.title} there; expected {known}")
    train, val, names = layout.paths(folder)
    labels = layout.read_names(names)
    if len(labels) != dataset.num_classes:
        raise DataError(
            f"{names}: {len(labels)} class names, but {dataset.title} has {dataset.num_classes}; fetch the file again"
        )
    return Annotations(dataset, labels, layout.read_list(train, labels), layout.read_list(val, labels))
