"""What `lsn bench` measures is what it says; how fast it is, no test can know."""

import io
import json
import re
from contextlib import redirect_stdout

import pytest
import torch

from lsn.cli import main
from lsn.errors import ConfigError, ModelError, VideoError
from lsn.profiling import PARTS, Bench, Figure, measure
from lsn.profiling.model import _measure_here
from lsn.profiling.timing import time_runs

CPU = torch.device("cpu")


def timed(run, **options):
    options = {"units": 1, "seconds": 1e-6, "device": CPU} | options
    return time_runs(run, part="test", what="a run", unit="clips", **options)


def test_rates_and_percentiles_are_those_of_the_runs(monkeypatch):
    """By a clock that goes on only while something runs: 1, 2, 3, ... 200 ms after the warm-up."""
    now, runs = [0.0], []

    def run() -> None:
        now[0] += len(runs) / 1000
        runs.append(now[0])

    monkeypatch.setattr("lsn.profiling.timing.time.perf_counter", lambda: now[0])
    figure = timed(run, units=4, seconds=sum(range(1, 201)) / 1000 - 1e-6)
    assert figure.num_runs == 200
    assert figure.per_second == pytest.approx(4 * 200 / 20.1)
    assert figure.p50_ms == pytest.approx(100.5)
    assert 190 < figure.p95_ms < 191.5
    assert 198 < figure.p99_ms < 199.5


def test_few_runs_have_no_far_percentiles():
    figure = timed(lambda: None)
    assert figure.num_runs >= 3
    assert (figure.p95_ms is None) == (figure.num_runs < 20)
    figure = timed(lambda: None, seconds=-1)
    assert (figure.num_runs, figure.p95_ms, figure.p99_ms) == (3, None, None)


@pytest.fixture(scope="module")
def results():
    """What the command tells of all parts."""
    arguments = ("bench", "lsn_test_resnet", "--size", "64", "--num-frames", "3", "--batch-size", "2")
    with redirect_stdout(io.StringIO()) as out:
        assert main([*arguments, "--seconds", "0.01", "--json"]) == 0
    return json.loads(out.getvalue())


@pytest.mark.slow
def test_memory_is_that_of_the_part(results):
    """Clips of eight times the frames take more memory, whatever was measured before."""
    small = Figure(**results["figures"][0])
    large = measure(Bench("lsn_test_resnet", batch_size=2, num_frames=24, size=64, seconds=0.01), "training")
    if small.peak_bytes is not None:
        assert large.peak_bytes > small.peak_bytes + 2 * 21 * 3 * 64 * 64 * 4
    assert (small.what, large.what) == ("2 clips of 3 frames, 64x64", "2 clips of 24 frames, 64x64")


@pytest.mark.slow
def test_a_model_that_looks_ahead_does_not_stream():
    assert _measure_here(Bench("tsm_test_resnet", size=32, seconds=0.01), "stream") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"size": 0}, "size is 0"),
        ({"seconds": 0.0}, "seconds is 0.0; it must be above 0 and at most 3600"),
        ({"seconds": float("nan")}, "seconds is nan"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Bench("lsn_test_resnet", **options)


def test_a_model_that_is_none_is_named():
    with pytest.raises(ModelError, match="no_such"):
        Bench("lsn_no_such").load()


@pytest.mark.slow
def test_errors_come_from_the_other_process(tmp_path):
    (broken := tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(VideoError, match=re.escape(str(broken))):
        measure(Bench("lsn_test_resnet", videos=(str(broken),)), "decode")


@pytest.mark.slow
def test_the_command_tells_all_parts_as_json(results):
    assert [figure["part"] for figure in results["figures"]] == list(PARTS)
    assert [figure["unit"] for figure in results["figures"]] == ["clips", "clips", "frames", "videos", "videos"]
    assert all(figure["per_second"] > 0 and figure["p50_ms"] > 0 for figure in results["figures"])
    assert results["settings"]["batch_size"] == 2 and results["machine"]["threads"] == torch.get_num_threads()


def test_the_table_leaves_out_what_was_not_measured(capsys, monkeypatch):
    figure = Figure("test", "4 clips", "clips", 12.345, 30, 81.0, 90.0, None, 1_234_000_000)
    monkeypatch.setattr("lsn.profiling.measure", lambda bench, part: None if part == "stream" else figure)
    assert main(["bench", "tsm_test_resnet"]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("test"))
    assert re.split(r"\s{2,}", row) == ["test", "4 clips", "12.3 clips/s", "81.0 ms", "90.0 ms", "-", "1.23 GB"]
    assert "tsm_test_resnet looks ahead, so it cannot stream." in out
