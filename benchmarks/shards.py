"""Clips per second from shards and from loose files, of this disk (also not yet in memory), and from a web server.

The clips of a manifest are copied several times, as a set of many small files, and packed. Each way reads them once, in
the order of a training, with workers: their first frames, and training clips (one frame of each of 8 segments, cropped
to 112 pixels). "cold" drops the files from the page cache first. The web server is one of this machine, the cache is
empty at first. Every way must give the same clips.

    python benchmarks/shards.py EGOGESTAR/train.csv
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import http.server
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from lsn.data import ClipDataset, Manifest, StepSampler, load_steps, read_manifest
from lsn.data.clips.windows import shard_of
from lsn.data.shards.write import write_shards
from lsn.errors import LSNError
from lsn.files import write_csv
from lsn.remote import CACHE_DIR_VARIABLE
from lsn.training.clips.views import TrainingViews
from lsn.video.clip_sampler import SegmentSampler
from lsn.video.transforms import TrainTransform

BATCH_SIZE, NUM_WORKERS = 8, 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="manifest of short clips")
    parser.add_argument("--copies", type=int, default=16, help="of each clip")
    parser.add_argument("--shard-mb", type=int, default=16, help="size of a shard, in MiB")
    parser.add_argument("--folder", type=Path, help="where the files go, on the disk that is measured")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            copy_clips(options.manifest, options.copies, folder / "loose")
            start = time.perf_counter()
            done = write_shards(
                [read_manifest(folder / "loose/train.csv")], folder / "shards", max_bytes=options.shard_mb << 20
            )
            seconds = time.perf_counter() - start
            print(
                f"{done.num_videos} files, {done.num_bytes / 1e6:.0f} MB, in {done.num_shards} shards; "
                f"packed in {seconds:.1f} s ({done.num_videos / seconds:.0f} files per second)"
            )
            measure(folder)
    except LSNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def copy_clips(manifest: str, copies: int, out: Path) -> None:
    """The clips under new names, some hundred in a folder, as data sets have them."""
    rows = [("path", "label")]
    clips = read_manifest(manifest).clips
    for number in range(copies * len(clips)):
        clip = clips[number % len(clips)]
        path = Path(str(number // 500), f"{number}{Path(clip.path).suffix}")
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip.path, out / path)
        rows.append((str(path), clip.label))
    write_csv(out / "train.csv", rows)


def measure(folder: Path) -> None:
    os.environ[CACHE_DIR_VARIABLE] = str(folder / "cache")
    with served(folder / "shards") as address:
        ways = {
            "loose files, cold": (folder / "loose/train.csv", folder / "loose"),
            "loose files": (folder / "loose/train.csv", None),
            "shards, cold": (folder / "shards/train.csv", folder / "shards"),
            "shards": (folder / "shards/train.csv", None),
            "shards by HTTP, first time": (f"{address}/train.csv", None),
            "shards by HTTP, again": (f"{address}/train.csv", None),
        }
        print(f"{'':28}  first    clip   (clips per second, {NUM_WORKERS} workers)")
        seen = set()
        for name, (manifest, drop) in ways.items():
            figures = []
            for decodes in (False, True):
                if "first" in name:
                    shutil.rmtree(folder / "cache", ignore_errors=True)
                if drop is not None:
                    drop_from_memory(drop)
                rate, digest = clips_per_second(read_manifest(manifest), decodes=decodes)
                figures.append(rate)
                seen.add((decodes, digest))
            print(f"{name:28}{figures[0]:7.0f} {figures[1]:7.0f}", flush=True)
        print("all ways gave the same clips" if len(seen) == 2 else "THE CLIPS DIFFER")


def clips_per_second(manifest: Manifest, *, decodes: bool) -> tuple[float, str]:
    """Reads every clip once, and says what was read."""
    transform = TrainTransform(size=112, scales=(1.0, 0.875), labels=manifest.labels)
    dataset = ClipDataset(manifest, TrainingViews(SegmentSampler(8), transform) if decodes else first_frame)
    shards = [shard_of(clip) for clip in manifest.clips]
    sampler = StepSampler(len(manifest), batch_size=BATCH_SIZE, shards=shards)
    digest, start, num_clips = hashlib.sha256(), 0.0, 0
    for number, (batch,) in enumerate(load_steps(dataset, sampler.steps(0), num_workers=NUM_WORKERS)):
        assert batch.views_BVTCHW is not None
        digest.update(batch.views_BVTCHW.numpy().tobytes())
        if number == 0:
            start = time.perf_counter()  # without the start of the workers
        else:
            num_clips += len(batch.labels_B)
    return num_clips / (time.perf_counter() - start), digest.hexdigest()


def first_frame(video, label, rng):  # type: ignore[no-untyped-def]
    return torch.from_numpy(video.frames_at([0]).frames_THWC[None].copy()), label


def drop_from_memory(folder: Path) -> None:
    os.sync()  # what is not on the disk yet would stay
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
