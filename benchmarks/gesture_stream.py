"""Real gestures as a stream: long videos with pauses, and other frame rates.

    python benchmarks/gesture_stream.py timelines egogestar runs/data/gesture_events
    lsn train gesture_timeline data.train=runs/data/gesture_events/train.csv ...
    python benchmarks/gesture_stream.py windows egogestar runs/data/gesture_windows
    python benchmarks/gesture_stream.py rates egogestar runs/gesture_stream
    python benchmarks/gesture_stream.py clips egogestar starter:gestures

`timelines` joins clips to videos with pauses between them, in which the first or last frame is held while the view
drifts a little, and lists the gestures: to train on, to validate on (other scenes of train.csv) and to test on
(val.csv, or the scenes named by --held-out, which are then in neither of the others), the latter two joined in three
ways.
`windows` cuts labelled windows of six seconds out of such videos, which is how networks for clips can learn pauses.
`rates` encodes every validation clip again at 30, 15 and 7.5 frames per second and at 30 with a tenth of the frames
dropped at random, and streams them all.
`clips` streams every validation clip through weights for long videos, and names it by the label that had the most
probability in all of its frames.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lsn import StreamingPredictor, StreamPrediction, StreamRunner
from lsn.data import Manifest, open_clip, read_manifest
from lsn.data.clips.splits import draw_clips
from lsn.data.timelines.reading import write_timelines
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.files import write_csv
from lsn.streaming.timeline import make_timeline
from lsn.video import open_video, write_video
from lsn.video.frame_sampler import on_screen

PAUSE = "pause"
JOIN_FPS = 15.0
WINDOW_SECONDS = 6.0
VIDEO_GESTURES = 12
WAYS = 3  # that the clips to validate and test on are joined
VALIDATION_SCENES = ("s01", "s08", "s26")
SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("timelines", "windows", "rates", "clips"))
    parser.add_argument("gestures", type=Path, help="folder of EgoGestAR with train.csv and val.csv")
    parser.add_argument("folder", type=Path, help="where to write; for rates and clips: the weights")
    parser.add_argument("--clips-per-class", type=int, default=sys.maxsize, help="of the clips to train on (all)")
    parser.add_argument("--rounds", type=int, default=6, help="how often each training clip is joined")
    parser.add_argument("--speeds", type=float, nargs=2, default=(0.8, 1.25), help="of the training clips")
    parser.add_argument("--held-out", nargs="*", default=(), help="scenes to test on, instead of val.csv")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.what == "timelines":
        write_timeline_sets(options)
    elif options.what == "windows":
        write_windows(options)
    elif options.what == "rates":
        compare_rates(options.gestures, options.folder)
    else:
        name_clips(options.gestures, options.folder)
    return 0


def write_timeline_sets(options: argparse.Namespace) -> None:
    """Joined videos and their events, to train, validate and test on."""
    for split, clips in split_scenes(options.gestures, options.held_out, options.clips_per_class).items():
        rng = random.Random(f"{split} {SEED}")
        num_rounds = options.rounds if split == "train" else WAYS
        videos = []
        for number, joined in enumerate(join_all(clips, rng, num_rounds, options.speeds if split == "train" else None)):
            path = options.folder / split / f"{number}.mp4"
            write_video(path, joined.frames_THWC, fps=JOIN_FPS)
            videos.append(TimelineVideo(str(path), in_order(joined.truths)))
        path = options.folder / f"{split}.csv"
        write_timelines(path, TimelineManifest(str(path), clips.labels, tuple(videos)))
        print(f"{path}: {len(videos)} videos with {sum(len(video.events) for video in videos)} gestures")


def split_scenes(gestures: Path, held_out: Sequence[str], clips_per_class: int) -> dict[str, Manifest]:
    """Clips to train, validate and test on, no scene in two of them; to train on, so many of each class."""
    train, val = (read_manifest(gestures / f"{split}.csv", group_column="scene") for split in ("train", "val"))
    everything = train.clips + val.clips
    test = tuple(clip for clip in everything if clip.group in held_out) if held_out else val.clips
    left = [clip for clip in everything if clip.group not in {clip.group for clip in test}]
    chosen = set(VALIDATION_SCENES) - set(held_out)
    to_train = replace(train, clips=tuple(clip for clip in left if clip.group not in chosen))
    parts = {
        "train": draw_clips(to_train, clips_per_class, seed=SEED).clips,
        "val": tuple(clip for clip in left if clip.group in chosen),
        "test": test,
    }
    return {split: replace(train, clips=clips) for split, clips in parts.items()}


def join_all(
    manifest: Manifest, rng: random.Random, num_rounds: int, speeds: tuple[float, float] | None
) -> Iterator[Joined]:
    """All clips in videos of `VIDEO_GESTURES`, in several orders."""
    for _ in range(num_rounds):
        order = rng.sample(range(len(manifest)), len(manifest))
        for start in range(0, len(order), VIDEO_GESTURES):
            yield join(manifest, order[start : start + VIDEO_GESTURES], rng, speeds=speeds or (1.0, 1.0))


def write_windows(options: argparse.Namespace) -> None:
    """Joined videos and the windows of them to train and validate on; the gestures of training vary in speed."""
    folder = options.folder
    for split, num_rounds, speeds in (("train", options.rounds, options.speeds), ("val", 1, (1.0, 1.0))):
        clips = read_manifest(options.gestures / f"{split}.csv")
        if split == "train":
            clips = draw_clips(clips, options.clips_per_class, seed=SEED)
        rng = random.Random(f"{split} {SEED}")
        rows: list[tuple[Path, float, float, str]] = []
        for number, joined in enumerate(join_all(clips, rng, num_rounds, speeds)):
            path = folder / split / f"{number}.mp4"
            write_video(path, joined.frames_THWC, fps=JOIN_FPS)
            for end, label in draw_windows(joined, rng):
                rows.append((path.resolve(), round(end - WINDOW_SECONDS, 3), round(end, 3), label))
        write_csv(folder / f"{split}.csv", [("path", "start_seconds", "end_seconds", "label"), *rows])
        print(f"{folder / split}.csv: {len(rows)} windows, {sum(row[-1] == PAUSE for row in rows)} of them pauses")


def draw_windows(joined: Joined, rng: random.Random) -> Iterator[tuple[float, str]]:
    """Ends of windows of a joined video, with their labels: three of each gesture, and two of each pause."""
    ends: dict[TimelineEvent | None, list[float]] = {}
    for t in range(math.ceil(WINDOW_SECONDS * JOIN_FPS), len(joined.frames_THWC) + 1):
        if (truth := shown_at(joined.truths, t / JOIN_FPS)) != UNCLEAR:
            ends.setdefault(truth, []).append(t / JOIN_FPS)
    for truth, moments in ends.items():
        number = 3 if truth else 2 * len(joined.truths)
        for end in rng.sample(moments, min(number, len(moments))):
            yield end, truth.label if truth else PAUSE


def shown_at(truths: Sequence[TimelineEvent], seconds: float) -> TimelineEvent | None:
    """What the second before a time shows: a gesture, None for a pause, or that one cannot say.

    A gesture is recognised from its last quarter, and until three quarters of a second after its end.
    """
    for truth in truths:
        length = truth.end_seconds - truth.start_seconds
        if truth.start_seconds + 0.75 * length <= seconds <= truth.end_seconds + 0.75:
            return truth
        if truth.start_seconds + 0.25 * length <= seconds <= truth.end_seconds + 1.25:
            return UNCLEAR
    return None


def compare_rates(gestures: Path, weights: Path) -> None:
    """The top-1 of every validation clip at several rates, and whether it stays the same."""
    manifest = read_manifest(gestures / "val.csv")
    rng = random.Random(SEED)
    answers_by_rate: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(len(manifest)):
            frames_THWC, fps = read_clip(manifest, index)
            for name, frames in variants(frames_THWC, fps, rng):
                answers_by_rate.setdefault(name, []).append(last_answer(weights, frames, Path(folder)))
    labels = [clip.label for clip in manifest.clips]
    reference = answers_by_rate["30 fps"]
    print(f"{'variant':24}{'right':>7}{'same as 30 fps':>16}   of {len(labels)}")
    for name, answers in answers_by_rate.items():
        right = sum(map(str.__eq__, answers, labels))
        print(f"{name:24}{right:7}{sum(map(str.__eq__, answers, reference)):16}")


def name_clips(gestures: Path, weights: Path) -> None:
    """The top-1 of every validation clip by weights with a class for the background."""
    manifest = read_manifest(gestures / "val.csv")
    watching = StreamingPredictor(weights)
    can_be = [label for label in watching.labels if label != watching.events.background]
    columns = [watching.labels.index(label) for label in can_be]
    right = 0
    for clip in manifest.clips:
        seen_K = make_timeline(watching, clip.path).track.probabilities_TK[:, columns].sum(axis=0)
        right += can_be[int(seen_K.argmax())] == clip.label
    print(f"{right} of {len(manifest)} clips are right")


def variants(
    frames_THWC: np.ndarray, fps: float, rng: random.Random
) -> Iterator[tuple[str, list[tuple[float, np.ndarray]]]]:
    """Timed frames of one clip as cameras of several rates would have given them, each encoded again."""
    seconds = len(frames_THWC) / fps
    for rate in (30.0, 15.0, 7.5):
        yield f"{rate:g} fps", timed(frames_THWC, fps, [t / rate for t in range(max(1, math.floor(seconds * rate)))])
    moments = [t / 30 for t in range(math.floor(seconds * 30)) if t == 0 or rng.random() >= 0.1]
    yield "30 fps, a tenth dropped", timed(frames_THWC, fps, moments)


def timed(frames_THWC: np.ndarray, fps: float, moments: list[float]) -> list[tuple[float, np.ndarray]]:
    indices = on_screen([t / fps for t in range(len(frames_THWC))], moments)
    return [(moment, frames_THWC[index]) for moment, index in zip(moments, indices, strict=True)]


def last_answer(weights: Path, frames: list[tuple[float, np.ndarray]], folder: Path) -> str:
    """What a stream of the frames, encoded and decoded, is called at its end, by the mean over all of it."""
    path = folder / "clip.mp4"
    write_video(path, np.stack([frame for _, frame in frames]), fps=30)  # the times are given below
    with open_video(path) as reader:
        decoded = zip((seconds for seconds, _ in frames), (frame for _, frame in reader), strict=True)
        with StreamRunner(predictor(weights), {"clip": decoded}, on_error="raise") as runner:
            answers = [result for result in runner if isinstance(result, StreamPrediction)]
    return answers[-1].label


_PREDICTORS: dict[Path, StreamingPredictor] = {}


def predictor(weights: Path) -> StreamingPredictor:
    """One for all clips; each takes its place and gives it back."""
    if weights not in _PREDICTORS:
        _PREDICTORS[weights] = StreamingPredictor(weights, consensus="cumulative")
    return _PREDICTORS[weights]


UNCLEAR = TimelineEvent("", math.nan, math.nan)


@dataclass(frozen=True)
class Joined:
    """Gestures with pauses between them."""

    frames_THWC: np.ndarray
    truths: list[TimelineEvent]


def join(
    manifest: Manifest,
    order: Sequence[int],
    rng: random.Random,
    *,
    speeds: tuple[float, float] = (1.0, 1.0),
) -> Joined:
    """Clips with pauses of one and a half to three seconds between them."""
    parts: list[np.ndarray] = []
    truths: list[TimelineEvent] = []
    length = 0
    for index in order:
        frames_THWC, fps = read_clip(manifest, index)
        fps *= rng.uniform(*speeds)
        moments = [t / JOIN_FPS for t in range(math.floor(len(frames_THWC) / fps * JOIN_FPS))]
        clip_THWC = np.stack([frame for _, frame in timed(frames_THWC, fps, moments)])
        num_still = round(rng.uniform(1.5, 3.0) * JOIN_FPS / 2)
        before, after = (drift(clip_THWC[t], num_still, JOIN_FPS, seed=rng.randrange(2**31)) for t in (0, -1))
        start = length + num_still
        truths.append(TimelineEvent(manifest.clips[index].label, start / JOIN_FPS, (start + len(clip_THWC)) / JOIN_FPS))
        parts += [before, clip_THWC, after]
        length = start + len(clip_THWC) + num_still
    return Joined(np.concatenate(parts), truths)


def read_clip(manifest: Manifest, index: int) -> tuple[np.ndarray, float]:
    """All frames of a clip, and their rate."""
    with open_clip(manifest.clips[index]) as reader:
        return reader.frames_at(range(reader.num_frames)).frames_THWC, reader.info.average_fps


def drift(picture_HWC: np.ndarray, num_frames: int, fps: float, *, seed: int) -> np.ndarray:
    """A picture seen by a head that does not hold quite still: it wanders by up to four pixels, with sensor noise."""
    generator = torch.Generator().manual_seed(seed)
    phase = torch.rand(2, generator=generator) * 2 * math.pi
    padded = torch.nn.functional.pad(
        torch.from_numpy(picture_HWC).permute(2, 0, 1)[None].float(), (4, 4, 4, 4), mode="reflect"
    )[0]
    _, height, width = padded.shape
    frames = []
    for t in range(max(1, num_frames)):
        down, right = (round(4 + 4 * math.sin(2 * math.pi * 0.3 * t / fps + float(angle))) for angle in phase)
        view = padded[:, down : height - 8 + down, right : width - 8 + right]
        frames.append((view + 2 * torch.randn(view.shape, generator=generator)).clamp(0, 255).byte().permute(1, 2, 0))
    return torch.stack(frames).numpy()


if __name__ == "__main__":
    sys.exit(main())
