"""The benchmark of the memories' reach sees whole videos of every length, and takes no other weights."""

import pytest
import torch

from lsn.config import InputConfig
from lsn.data.synthetic import write_synthetic
from lsn.models import create_model
from lsn.models.weights import save_weights


@pytest.fixture(scope="module")
def memory_span(import_script):
    return import_script("memory_span")


def weights(folder, labels):
    torch.manual_seed(0)
    model = create_model("lsn_test_resnet", num_classes=len(labels), num_frames=48)
    save_weights(folder, model, labels=labels, input=InputConfig(size=32, short_side=32), metrics={})
    return folder


def test_all_frames_of_every_length_are_seen(memory_span, tmp_path, capsys, monkeypatch):
    labels = write_synthetic(tmp_path / "long", kind="long", num_train=2, num_val=2, size=32).labels
    seen = []
    evaluate = memory_span.evaluate
    monkeypatch.setattr(
        memory_span, "evaluate", lambda m, v, protocol, **k: seen.append(protocol) or evaluate(m, v, protocol, **k)
    )

    run = weights(tmp_path / "run", labels)
    assert memory_span.main([str(run), "--frames", "48", "60", "--videos", "2"]) == 0

    assert [protocol.num_frames for protocol in seen] == [48, 60]
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["48", "frames"], ["60", "frames"]]


def test_weights_of_other_classes_are_refused(memory_span, tmp_path, capsys):
    assert memory_span.main([str(weights(tmp_path / "run", ["a", "b"])), "--frames", "48", "--videos", "2"]) == 2
    assert "unknown label" in capsys.readouterr().err
