"""The benchmarks of speed run, agree with their peers and say what they compared; figures: docs/benchmarks.md."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from lsn.video import write_video


@pytest.mark.slow
def test_the_recurrence_beside_the_equations_and_keras(import_script, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    recurrence = import_script("recurrence")
    assert recurrence.main(["--shrink", "28", "--turns", "1", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    differences = [float(text) for text in re.findall(r"(?:ours|literal|difference) (\d\.\de-\d+)", out)]
    assert len(differences) == 2 * 4 + 1
    assert max(differences) < 5e-6
    assert out.count("literal / ours, with gradients") == out.count("its convolutions alone") == 4
    for layout in ("channels_last", "contiguous"):
        for work in ("inference", "training"):
            assert len(re.findall(rf"{layout}, whole block, literal / ours, {work}: \d", out)) == 4
    assert "Keras / ours" in out


@pytest.mark.slow
def test_networks_beside_their_control_and_over_lengths(import_script, capsys):
    network = import_script("network")
    model = ["--model", "lsn_test_resnet", "--size", "32", "--turns", "1", "--threads", "1"]
    assert network.main(["control", *model]) == 0
    assert network.main(["length", *model, "--frames", "2", "4"]) == 0
    out = capsys.readouterr().out
    assert "lsn_test_resnet / tsn_test_resnet, 1 x 16 frames of 32, training step" in out
    assert float(re.search(r"multiply-adds: (\S+)", out)[1]) > 1
    assert "4 frames / 2 frames" in out


@pytest.mark.slow
def test_a_frame_beside_its_like(import_script, capsys):
    shared_machine = import_script("shared_machine")
    arguments = ["--only", "frame", "--turns", "1", "--seconds", "0", "--model", "lsn_test_resnet", "--size", "32"]
    sides = ["--waiting", "as lsn", "--neighbours", "beside its like"]
    assert shared_machine.main([*arguments, "--frames", "2", *sides]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^frame, as lsn, beside its like: \S+ s", out, flags=re.MULTILINE)


@pytest.mark.slow
def test_growth_is_drawn(import_script, capsys, tmp_path):
    growth = import_script("growth")
    picture = tmp_path / "new" / "growth.png"
    arguments = ["--model", "lsn_test_resnet", "--size", "32", "--frames", "16", "20", "--turns", "1", "--threads", "1"]
    assert growth.main([*arguments, "--out", str(picture)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["16", "20"]
    with Image.open(picture) as image:
        assert image.width > 2 * image.height
    with pytest.raises(SystemExit):
        growth.main(["--frames", "8", "--out", str(picture)])


@pytest.mark.slow
def test_networks_beside_torchvisions(import_script, capsys, monkeypatch):
    network = import_script("network")
    monkeypatch.setattr(network, "PEERS", {"r3d_18": (4, 32)})
    assert network.main(["peers", "--model", "lsn_test_resnet", "--size", "32", "--turns", "1", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "time of r3d_18 / ours, inference" in out
    assert out.count("times GMACs a clip") == 2


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_against_the_length(import_script, capsys):
    memory = import_script("memory")
    arguments = ["--model", "lsn_test_resnet", "--size", "32", "--frames", "4", "--steps", "1"]
    assert memory.main([*arguments, "--batch-norm", "frozen"]) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"\s+4\s+\S+ GB \S+ s\s+\S+ GB \S+ s\s+\S+\s+\S+", row)


def test_decoding_beside_others(import_script, capsys, tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    decoders = pytest.importorskip("torchcodec.decoders", exc_type=ImportError)
    frames = np.random.default_rng(0).integers(0, 255, (24, 3, 4, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    write_video(tmp_path / "clip.mp4", frames, fps=12)
    try:
        decoders.VideoDecoder(str(tmp_path / "clip.mp4"))
    except RuntimeError:
        pytest.skip("torchcodec finds no FFmpeg")
    decoding = import_script("decoding")
    assert decoding.main([str(tmp_path / "clip.mp4"), "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("torchcodec  ", "OpenCV", "naive PyAV", "torchcodec + torchvision"))
    monkeypatch.setattr(decoding, "read_torchcodec", lambda path: decoding.read(path)[::-1])
    with pytest.raises(SystemExit, match="torchcodec has other frames"):
        decoding.main([str(tmp_path / "clip.mp4"), "--rounds", "1"])
