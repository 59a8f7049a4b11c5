"""Joined videos of two events, made from clips whose colour shows what they are and which source they are from."""

import csv
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lsn.data import read_manifest
from lsn.video import open_video, write_video

RED, BLUE = (200, 30, 30), (30, 30, 200)
NUM_SOURCES = 8
NUM_VIDEOS = {"train": 8, "val": 4}
ORDERS = {
    "gesture then fight": re.compile(r"\.{3,}g{4,8}\.{20,}f{4,8}\.{3,}"),
    "fight then gesture": re.compile(r"\.{3,}f{4,8}\.{20,}g{4,8}\.{3,}"),
}


def grey(source: int) -> int:
    """Of the calm clip of a surveillance source."""
    return 40 + 25 * source


def write_sources(folder: Path, fight: str = "fight") -> tuple[Path, Path]:
    """A folder like egogestar with red gestures, one like surv_fight with a blue fight and a grey clip a source."""

    def write(path: str, colour: tuple[int, int, int] | int) -> str:
        write_video(folder / path, np.full((12, 24, 32, 3), colour, np.uint8), fps=10)
        return path.partition("/")[2]

    def write_table(path: str, *rows: tuple[str, ...]) -> None:
        with (folder / path).open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    for split in ("train", "val"):
        rows = [(write(f"ego/{split}/up_{number}.mp4", RED), "up", f"s{number}") for number in range(2)]
        write_table(f"ego/{split}.csv", ("path", "label", "scene"), *rows)
    rows = []
    for source in range(NUM_SOURCES):
        rows.append((write(f"surv/fight_{source}.mp4", BLUE), fight, f"v{source}"))
        rows.append((write(f"surv/calm_{source}.mp4", grey(source)), "noFight", f"v{source}"))
    write_table("surv/index.csv", ("path", "label", "source"), *rows)
    return folder / "ego", folder / "surv"


@pytest.fixture(scope="module")
def two_events(import_script):
    return import_script("two_events").main


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> tuple[Path, Path]:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def joined(two_events, sources, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("joined") / "new"
    numbers = [f"--num-{split}={number}" for split, number in NUM_VIDEOS.items()]
    assert two_events([*map(str, sources), str(out), *numbers]) == 0
    return out


def frames_of(path: str | Path) -> np.ndarray:
    with open_video(path) as reader:
        return reader.frames_at(range(reader.num_frames)).frames_THWC


def kinds_of(frames_THWC: np.ndarray) -> str:
    """A letter a frame: gesture, fight or a dot for calm."""
    colours_TC = frames_THWC.mean(axis=(1, 2))
    return "".join("g" if red > blue + 60 else "f" if blue > red + 60 else "." for red, _, blue in colours_TC)


@pytest.mark.parametrize("split", NUM_VIDEOS)
def test_the_class_is_the_order_of_two_events_far_apart(joined, split):
    manifest = read_manifest(joined / f"{split}.csv", labels=tuple(ORDERS))
    assert len(manifest) == NUM_VIDEOS[split]
    for clip in manifest.clips:
        frames = frames_of(clip.path)
        assert frames.shape == (48, 96, 128, 3)
        assert ORDERS[clip.label].fullmatch(kinds_of(frames)), clip.path


@pytest.mark.parametrize("split", NUM_VIDEOS)
def test_both_orders_of_a_pair_hold_the_same_frames(joined, split):
    with (joined / f"{split}.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (int(row["pair"]), row["label"]))
    pairs = list(pairwise(rows))[::2]
    assert len(pairs) == NUM_VIDEOS[split] // 2
    for one, other in pairs:
        assert (one["pair"], one["gesture"], one["fight"]) == (other["pair"], other["gesture"], other["fight"])
        assert {one["label"], other["label"]} == set(ORDERS)
        first, second = (frames_of(joined / row["path"]) for row in (one, other))
        assert sorted(frame.tobytes() for frame in first) == sorted(frame.tobytes() for frame in second)
        calm = [
            [frame.tobytes() for frame, kind in zip(frames, kinds_of(frames), strict=True) if kind == "."]
            for frames in (first, second)
        ]
        assert calm[0] == calm[1]


def test_no_source_is_in_both_splits(joined):
    seen = {}
    for split in NUM_VIDEOS:
        seen[split] = set()
        for clip in read_manifest(joined / f"{split}.csv").clips:
            frames = frames_of(clip.path)
            levels = [frame.mean() for frame, kind in zip(frames, kinds_of(frames), strict=True) if kind == "."]
            seen[split] |= {round((level - grey(0)) / 25) for level in levels}
        with (joined / f"{split}.csv").open(newline="") as file:
            seen[split] |= {int(re.search(r"\d+", row["fight"])[0]) for row in csv.DictReader(file)}
    assert seen["train"] and seen["val"]
    assert seen["train"] | seen["val"] <= set(range(NUM_SOURCES))
    assert not seen["train"] & seen["val"]


def test_what_it_cannot_use_is_named_in_one_line(two_events, sources, joined, tmp_path, capsys):
    ego, surv = sources
    new, file = tmp_path / "new", tmp_path / "file"
    file.write_text("")
    for arguments, words in (
        ((ego, tmp_path / "none", new), rf"{tmp_path}/none/index\.csv: no such manifest"),
        ((tmp_path / "none", surv, new), rf"{tmp_path}/none/train\.csv: no such manifest"),
        ((surv, ego, new), r"ego/index\.csv: no such manifest"),
        ((ego, surv, joined), rf"{joined}: exists and is not an empty folder; choose a new one"),
        ((ego, surv, file), rf"{file}: exists and is not an empty folder"),
        ((ego, surv, new, "--num-val=3"), r"num_val is 3; it must be even and at least 2"),
    ):
        assert two_events([str(argument) for argument in arguments]) == 2
        assert re.fullmatch(rf"error: .*{words}.*\n", capsys.readouterr().err)
    assert not new.exists()


def test_a_kind_of_clips_that_is_missing_is_named(two_events, tmp_path, capsys):
    ego, surv = write_sources(tmp_path, fight="brawl")
    assert two_events([str(ego), str(surv), str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == f"error: {surv} and {ego}: no fight clips for train\n"


def test_a_clip_that_cannot_be_read_is_named(two_events, tmp_path, capsys):
    ego, surv = write_sources(tmp_path)
    for path in ego.rglob("*.mp4"):
        path.write_text("not a video")
    assert two_events([str(ego), str(surv), str(tmp_path / "new")]) == 2
    assert re.fullmatch(r"error: \S+/up_\d\.mp4: not a video file.*\n", capsys.readouterr().err)
