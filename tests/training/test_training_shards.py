"""Trainings from shards: the same weights as from loose files, from a web server too, and resumed anywhere."""

import functools
import http.server
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from lsn.data import read_manifest
from lsn.data.shards.write import write_shards
from lsn.training import train


@pytest.fixture(scope="module")
def shards(colours, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    done = write_shards([read_manifest(colours / f"{split}.csv") for split in ("train", "val")], out, max_bytes=4_000)
    assert done.num_shards > 3
    return out


class StopAfter:
    def __init__(self, step):
        self.step = step

    def on_start(self, lines):
        pass

    def on_step(self, report):
        if report.step == self.step:
            raise InterruptedError

    def on_evaluation(self, done, total):
        pass

    def on_evaluated(self, epoch, validation, is_best):
        pass


def with_data(config, folder, **values):
    return replace(config, data=replace(config.data, train=f"{folder}/train.csv", val=f"{folder}/val.csv", **values))


def assert_same_weights(one, other):
    torch.testing.assert_close(
        load_file(one / "model.safetensors"), load_file(other / "model.safetensors"), rtol=0, atol=0
    )


@pytest.mark.slow
def test_the_weights_are_those_of_loose_files_also_from_a_web_server(config, shards, tmp_path, monkeypatch):
    train(config, tmp_path / "loose")
    train(with_data(config, shards), tmp_path / "shards")
    assert_same_weights(tmp_path / "shards", tmp_path / "loose")

    pytest.importorskip("aiohttp")
    monkeypatch.setenv("LSN_CACHE_DIR", str(tmp_path / "cache"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(shards))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        train(with_data(config, address, num_workers=1), tmp_path / "served")
        server.shutdown()
    assert_same_weights(tmp_path / "served", tmp_path / "loose")


@pytest.mark.slow
def test_a_run_shuffled_by_shard_is_resumed_to_the_same_weights(config, shards, tmp_path):
    config = with_data(config, shards, shuffle_buffer=2)
    config = replace(config, training=replace(config.training, checkpoint_every=1))
    train(config, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train(config, tmp_path / "stopped", progress=StopAfter(3))
    train(config, tmp_path / "stopped", resume=True)
    assert_same_weights(tmp_path / "stopped", tmp_path / "whole")
    train(with_data(config, shards, shuffle_buffer=None), tmp_path / "all")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "all", tmp_path / "whole")  # another order
