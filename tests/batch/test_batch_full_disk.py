"""A batch whose disk is full says so, and is completed once there is room."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_disk import FULL
from small_recognizer import noisy_frames

from lsn.cli.app import main
from lsn.video import write_video


def tables(folder: Path) -> dict[str, list[dict]]:
    return {path.name: pq.read_table(path).to_pylist() for path in folder.glob("*.parquet")}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "rooms"), [("clip", (0, 3, 12)), ("long", (0, 8, 16))])
def test_a_batch_says_so_and_completes_when_there_is_room(
    here, disk, clip_weights, long_weights, tmp_path, capsys, kind, rooms
):
    for number in range(5):
        write_video(tmp_path / f"videos/{number}.mp4", noisy_frames(number, num_frames=20 + 20 * number), fps=10)
    weights = {"clip": clip_weights, "long": long_weights}[kind]
    options = [] if kind == "clip" else ["--part-seconds", "3"]
    command = ["batch", str(tmp_path / "videos"), "--weights", str(weights), *options, "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    out = disk.folder / "out"
    for kilobytes in rooms:  # too few for the settings, the records, the parts or the tables
        disk.leave(kilobytes)
        capsys.readouterr()
        assert main([*command, str(out)]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"lsn: {out}/") and said.endswith(FULL)
        assert disk.holds()["earlier.txt"] == b"kept"

    disk.resize(20_000)
    assert main([*command, str(out)]) == 0
    assert tables(out) == tables(tmp_path / "whole")
