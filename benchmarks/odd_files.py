"""Thousands of broken and odd files, opened, predicted and in a batch: nothing crashes, each is accounted for.

The files are those of the tests of hostile input: every codec, container, pixel format and timing of the format matrix,
very small and very large frames, a picture, sound alone, playlists, and copies of all of them that are cut,
overwritten, mixed or have flipped bits. Each is opened and predicted in a process of its own with a limit of time and
memory. Sound files must have as many frames as ffprobe counts. The batch must say the same of each file as the
prediction alone.

    python benchmarks/odd_files.py OUT --files 2000
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pyarrow.parquet

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS / "fuzz"), str(TESTS / "helpers")]
from bounded import Bounded, Outcome  # noqa: E402 - these are helpers of the tests
from container_cases import predict, read_in_every_way  # noqa: E402
from damage import damaged  # noqa: E402
from matrix_files import CASES, count_of_ffprobe  # noqa: E402

LSN = [sys.executable, "-m", "lsn"]
SECONDS, GROWTH_BYTES = 60.0, 3 << 30
FFMPEG = {
    "8k.mp4": "-f lavfi -i testsrc2=s=7680x4320:r=25 -frames:v 2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    "pixel.mkv": "-f lavfi -i testsrc2=s=16x16:r=25 -frames:v 9 -vf scale=1:1 -c:v ffv1 -pix_fmt gray",
    "line.mkv": "-f lavfi -i testsrc2=s=1000x16:r=25 -frames:v 9 -vf scale=1000:1 -c:v ffv1 -pix_fmt gray",
    "one.mp4": "-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 1 -c:v libx264 -pix_fmt yuv420p",
    "slow.mp4": "-f lavfi -i testsrc2=s=64x48:r=1/20 -frames:v 4 -c:v libx264 -pix_fmt yuv420p",
    "with_sound.mp4": "-f lavfi -i testsrc2=s=64x48:r=25 -f lavfi -i sine -t 1 -c:v libx264 -pix_fmt yuv420p -c:a aac",
    "sound.mp4": "-f lavfi -i sine -t 1 -c:a aac",
    "sound.wav": "-f lavfi -i sine -t 1",
    "sound.webm": "-f lavfi -i sine -t 1 -c:a libopus",
    "picture.png": "-f lavfi -i testsrc2=s=64x48 -frames:v 1",
}
TEXTS = {
    "list.m3u8": "#EXTM3U\n#EXTINF:1,\none.mp4\n",
    "list.mp4": "#EXTM3U\n#EXTINF:1,\none.mp4\n",
    "list.ffconcat": "ffconcat version 1.0\nfile one.mp4\n",
    "list.avi": "ffconcat version 1.0\nfile one.mp4\n",
    "camera.sdp": "v=0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "text.mp4": "no video",
    "empty.mp4": "",
}
NO_VIDEOS = ("sound.mp4", "sound.wav", "sound.webm", *TEXTS)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder, new")
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args(arguments)
    sound, files = write_files(options.out / "files", options.files)
    print(f"{len(files)} files: {len(sound)} sound, {len(NO_VIDEOS)} without video, the rest damaged", flush=True)
    weights = write_weights(options.out / "weights")
    wrong: list[str] = []
    with Bounded("container_cases", "lsn.inference.predictor") as bounded:
        opened = {
            file: bounded.run(read_in_every_way, file, seconds=SECONDS, growth_bytes=GROWTH_BYTES) for file in files
        }
        report("opened", opened, wrong)
        predicted = {
            file: bounded.run(predict, weights, file, seconds=SECONDS, growth_bytes=GROWTH_BYTES) for file in files
        }
        report("predicted", predicted, wrong)
    wrong += [f"{file}: sound, but {opened[file].kind}" for file in sound if opened[file].kind != "ok"]
    wrong += [f"{options.out}/files/{name}: no video, but opened" for name in NO_VIDEOS if is_ok(opened, name)]
    wrong += compare_with_ffprobe(sound)
    wrong += compare_with_batch(options.out, weights, predicted)
    for line in wrong:
        print("WRONG", line)
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


def write_files(folder: Path, number: int) -> tuple[list[Path], list[Path]]:
    """The sound files, and all files."""
    folder.mkdir(parents=True)
    sound = [case.write(folder) for case in CASES]
    for whole in folder.glob("whole.*"):  # what some cases are cut from
        whole.unlink()
    for name, how in FFMPEG.items():
        subprocess.run(["ffmpeg", "-v", "error", "-y", *how.split(), folder / name], check=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    sound += [folder / name for name in FFMPEG if name not in NO_VIDEOS]
    files = [*sound, *(folder / name for name in NO_VIDEOS)]
    originals = {path: path.read_bytes() for path in sound if path.stat().st_size < 4 << 20}
    random = Random("odd files")
    while len(files) < number:
        path = random.choice(list(originals))
        data, _ = damaged(originals[path], random, other=originals[random.choice(list(originals))])
        files.append(folder / f"{len(files)}_{path.name}")
        files[-1].write_bytes(data)
    return sound, files


def write_weights(folder: Path) -> Path:
    """An untrained network, as what it says does not matter."""
    from lsn import create_model
    from lsn.config import InputConfig
    from lsn.models.weights import save_weights

    model = create_model("lsn_test_resnet", num_classes=3, num_frames=4)
    save_weights(folder, model, labels=("a", "b", "c"), input=InputConfig(size=64, short_side=64), metrics={})
    return folder


def report(what: str, outcomes: dict[Path, Outcome], wrong: list[str]) -> None:
    print(f"{what}: {dict(Counter(outcome.kind for outcome in outcomes.values()))}", flush=True)
    wrong += [
        f"{file}: {what}: {outcome.kind}: {outcome.detail}"
        for file, outcome in outcomes.items()
        if outcome.kind not in ("ok", "refused", "memory")  # FFmpeg may ask for more than the limit
    ]


def is_ok(outcomes: dict[Path, Outcome], name: str) -> bool:
    return any(outcome.kind == "ok" for file, outcome in outcomes.items() if file.name == name)


def compare_with_ffprobe(sound: Sequence[Path]) -> list[str]:
    from lsn.video import open_video

    wrong = []
    for file in sound:
        with open_video(file) as video:
            if video.num_frames != (count := count_of_ffprobe(file)):
                wrong.append(f"{file}: {video.num_frames} frames, ffprobe has {count}")
    print(f"ffprobe counts the frames of {len(sound) - len(wrong)} of {len(sound)} sound files alike", flush=True)
    return wrong


def compare_with_batch(out: Path, weights: Path, predicted: dict[Path, Outcome]) -> list[str]:
    """Every file is in the table of videos, with what the prediction alone made of it."""
    (out / "list.txt").write_text("".join(f"{file.absolute()}\n" for file in predicted))
    done = subprocess.run(
        [*LSN, "batch", str(out / "list.txt"), "--weights", str(weights), "--out", str(out / "batch")],
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 2):
        return [f"lsn batch ended with {done.returncode}: {done.stderr[-2000:]}"]
    table = pyarrow.parquet.read_table(out / "batch/videos.parquet").to_pylist()
    status = {Path(row["path"]): row["status"] for row in table}
    print(f"batch: {dict(Counter(status.values()))} of {len(table)} rows", flush=True)
    expected = {"ok": ("done",), "refused": ("unreadable",), "memory": ("done", "unreadable")}
    return [
        f"{file}: {status.get(file.absolute())} in the batch, {outcome.kind} alone"
        for file, outcome in predicted.items()
        if status.get(file.absolute()) not in expected.get(outcome.kind, ())
    ]


if __name__ == "__main__":
    sys.exit(main())
