"""The benchmarks of shards, of odd files and of the cost of large archives, on little."""

import json
import os
import re

import numpy as np
import pytest

from lsn.video import write_video

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(20):
        write_video(folder / f"{number}.mp4", rng.integers(0, 255, (9, 48, 64, 3), dtype=np.uint8), fps=9)
        rows.append(f"{number}.mp4,{'ab'[number % 2]}")
    (folder / "all.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_shards_and_loose_files_give_the_same_clips(import_script, videos, capsys, monkeypatch):
    pytest.importorskip("aiohttp")
    shards = import_script("shards")
    monkeypatch.setattr(shards, "NUM_WORKERS", 0)
    monkeypatch.setattr(os, "sync", lambda: None)  # waits for all that other tests write, too
    assert shards.main([str(videos / "all.csv"), "--copies", "2", "--shard-mb", "1"]) == 0
    said = capsys.readouterr().out
    assert "40 files" in said and "all ways gave the same clips" in said
    assert len(re.findall(r"^(?:loose|shards)[^\d]* +\d+ +\d+$", said, flags=re.MULTILINE)) == 6


def test_odd_files_are_accounted_for_and_a_wrong_count_is_seen(import_script, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    odd_files = import_script("odd_files")
    monkeypatch.delitem(odd_files.FFMPEG, "8k.mp4")  # seconds to decode
    monkeypatch.setattr(odd_files, "CASES", odd_files.CASES[:4])
    monkeypatch.setattr(odd_files, "compare_with_batch", lambda *_: [])  # tests/batch have batches
    assert odd_files.main([str(tmp_path / "out"), "--files", "24"]) == 0
    said = capsys.readouterr().out
    assert "24 files: 10 sound, 10 without video, the rest damaged" in said
    assert "ffprobe counts the frames of 10 of 10 sound files alike" in said and "0 wrong" in said
    monkeypatch.setattr(odd_files, "count_of_ffprobe", lambda file: 2)
    one = tmp_path / "out/files/one.mp4"
    assert odd_files.compare_with_ffprobe([one]) == [f"{one}: 1 frames, ffprobe has 2"]


def test_a_cost_is_fitted_checked_and_projected(import_script, videos, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    scaling = import_script("scaling")
    small, large = (32, 32, 8, 1), (64, 48, 16, 1)
    monkeypatch.setattr(scaling, "FITTED", ((small,), (large,), ((64, 48, 4, 2),), ((32, 32, 30, 2),), (small,) * 4))
    monkeypatch.setattr(scaling, "CHECKED", (((48, 48, 8, 2),), (small, large)))
    fit = tmp_path / "fit.json"
    assert scaling.main(["measure", str(videos / "0.mp4"), str(fit), "--turns", "1"]) == 0
    said = capsys.readouterr().out
    assert said.count("fitted:") == 7 and said.count("not fitted:") == 2
    figures = json.loads(fit.read_text())
    fixed = figures | {"open": 0.1, "frame": 1e-4, "pixel": 1e-9, "answer": 4e-3, "view": 1e-8, "step": 1e-2}
    # Two videos of 10 s at 10/s in 100 x 100, whose 160 answers come from 80 steps.
    by_hand = 2 * 0.1 + 200 * 1e-4 + 2e6 * 1e-9 + 160 * 4e-3 + 160 * 1e4 * 1e-8 + 80 * 1e-2
    assert scaling.Fit(**fixed).seconds(((100, 100, 10, 10),) * 2) == pytest.approx(by_hand)
    fit.write_text(json.dumps(fixed))
    assert scaling.main(["project", str(fit)]) == 0
    said = capsys.readouterr().out
    assert "1,000,000" in said and re.search(r"a machine carries [\d,]+ streams", said)


def test_terms_are_found_again_and_none_is_below_zero(import_script):
    fit_terms = import_script("scaling").fit_terms
    rng = np.random.default_rng(0)
    features, terms = rng.uniform(1, 5, (8, 3)), np.array([0.5, 2.0, 0.1])
    np.testing.assert_allclose(fit_terms(features / (features @ terms)[:, None]), terms)
    found = fit_terms(features / (features @ [1.0, -0.05, 2.0])[:, None])
    assert found[1] == 0 and (found >= 0).all()


def test_machines_that_fail_cost_some_more(import_script):
    machines = import_script("scaling").machines_with_failures
    assert machines(64 * 24 * 7 * 0.5, 64, 7) == 1
    assert 1000 < machines(64 * 24 * 7 * 1000, 64, 7) <= 1020
