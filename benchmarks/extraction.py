"""Frames per second of `lsn data extract-frames` beside those of ffmpeg, one core each, in one run.

Both decode every clip, shrink it to a short side and write JPEGs, clip by clip in turns. ffmpeg is started for each
clip, as scripts that call it do. Both must write the same number of frames of the same size.

    python benchmarks/extraction.py SURV_FIGHT/index.csv
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lsn.data import read_manifest
from lsn.errors import DataError, LSNError
from lsn.video.writing.jpeg_frames import extract_frames, open_for_extraction

PATTERN = "img_{:05d}.jpg"
SHORT_SIDE = 256


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="manifest or folder of class folders")
    parser.add_argument("--short-side", type=int, default=SHORT_SIDE)
    parser.add_argument("--most", type=int, default=300, help="clips, at most")
    options = parser.parse_args(arguments)
    try:
        if shutil.which("ffmpeg") is None:
            raise DataError("ffmpeg is not installed; it is what this compares with")
        clips = read_manifest(options.manifest).clips[: options.most]
        if len(clips) < 2:
            raise DataError(f"{options.manifest}: {len(clips)} clip; a comparison by clip needs at least 2")
        ours, theirs, num_frames = measure([clip.path for clip in clips], options.short_side)
    except LSNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(f"{len(clips)} clips, {num_frames} frames, short side {options.short_side}, one core each")
    print(f"lsn     {num_frames / sum(ours):8.0f} frames per second")
    print(f"ffmpeg  {num_frames / sum(theirs):8.0f} frames per second")
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"ratio   {sum(theirs) / sum(ours):8.2f} in all; by clip median {statistics.median(ratios):.2f}, "
        f"half of them {low:.2f} to {high:.2f}"
    )
    return 0


def measure(paths: Sequence[str], short_side: int) -> tuple[list[float], list[float], int]:
    """Seconds of both for each clip, and the frames of all."""
    ours, theirs, num_frames = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            a, b = Path(folder, f"{number}a"), Path(folder, f"{number}b")
            sides = [(ours, by_lsn, a), (theirs, by_ffmpeg, b)]
            for seconds, extract, out in sides if number % 2 else sides[::-1]:
                start = time.perf_counter()
                extract(path, out, short_side)
                seconds.append(time.perf_counter() - start)
            num_frames += check_same(a, b, path)
            shutil.rmtree(a)
            shutil.rmtree(b)
    return ours, theirs, num_frames


def by_lsn(path: str, out: Path, short_side: int) -> None:
    with open_for_extraction(path, short_side=short_side) as reader:
        extract_frames(reader, out, pattern=PATTERN)


def by_ffmpeg(path: str, out: Path, short_side: int) -> None:
    out.mkdir()
    side = f"min({short_side}\\,ih)"
    scale = f"scale='if(gt(iw,ih),-1,min({short_side}\\,iw))':'if(gt(iw,ih),{side},-1)'"
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-filter_threads", "1", "-i", path, "-fps_mode", "passthrough"]
    subprocess.run([*command, "-vf", scale, "-threads", "1", "-q:v", "2", str(out / "img_%05d.jpg")], check=True)


def check_same(a: Path, b: Path, path: str) -> int:
    """The number of frames, if both wrote as many, in one size."""
    names = [sorted(file.name for file in folder.iterdir()) for folder in (a, b)]
    sizes = []
    for folder in (a, b):
        with Image.open(folder / "img_00001.jpg") as image:
            sizes.append(image.size)
    if names[0] != names[1] or sizes[0] != sizes[1]:
        raise DataError(f"{path}: {len(names[0])} frames of {sizes[0]} here, {len(names[1])} of {sizes[1]} by ffmpeg")
    return len(names[0])


if __name__ == "__main__":
    sys.exit(main())
