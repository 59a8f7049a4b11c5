"""Saved streams continue with the numbers of those that were not, and damaged states are refused."""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_recognizer import FPS, INPUT, LABELS, RATES, noisy_frames, push_all

from lsn.errors import WeightsError
from lsn.models import weights as weights_module
from lsn.models.weights import save_weights
from lsn.streaming import StreamingPredictor
from lsn.tensor_file import write_tensors


class TestSavedStreams:
    @pytest.mark.slow
    def test_it_goes_on_bit_for_bit_in_another_process(self, rated, tmp_path):
        frames = noisy_frames(3, num_frames=12)
        save_weights(tmp_path / "weights", rated.model, labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES)
        np.save(tmp_path / "frames.npy", frames[6:].numpy())
        stream = StreamingPredictor(tmp_path / "weights", consensus="exponential:1").open()
        push_all(stream, frames[:6])
        stream.save(tmp_path / "state.safetensors")
        here = push_all(stream, frames[6:], start=6)
        script = f"""
            import numpy as np, torch
            from lsn import StreamingPredictor
            torch.set_num_threads({torch.get_num_threads()})
            predictor = StreamingPredictor("weights", consensus="exponential:1")
            stream = predictor.open(state="state.safetensors")
            for t, frame in enumerate(np.load("frames.npy"), 6):
                for answer in stream.push(t / {FPS}, frame):
                    print(answer.seconds.hex(), answer.num_frames, *(p.hex() for p in answer.probabilities.tolist()))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        expected = [
            " ".join([a.seconds.hex(), str(a.num_frames), *(p.hex() for p in a.probabilities.tolist())]) for a in here
        ]
        assert done.stdout.splitlines() == expected
        assert len(expected) == 6

    def test_other_settings_are_refused_and_the_place_is_free_again(self, rated, tmp_path):
        StreamingPredictor(rated).open().save(tmp_path / "state")
        other = StreamingPredictor(rated, consensus="cumulative")
        with pytest.raises(WeightsError, match="state: the state of a stream with 10 frames per second and consensus"):
            other.open(state=tmp_path / "state")
        assert other.engine.num_streams == 0

    @pytest.mark.parametrize("consensus", ["cumulative", "exponential:1", "sliding:0.5"])
    @pytest.mark.parametrize("num_frames", [0, 1, 6])
    def test_every_tensor_that_is_kept_is_held_against_what_it_must_be(self, rated, tmp_path, consensus, num_frames):
        predictor = StreamingPredictor(rated, consensus=consensus)
        stream = predictor.open()
        push_all(stream, noisy_frames(3, num_frames=num_frames + 1)[:num_frames])
        stream.save(tmp_path / "state")
        stream.close()
        predictor.open(state=tmp_path / "state").close()
        with safe_open(tmp_path / "state", framework="pt") as file:
            about = {key: value for key, value in file.metadata().items() if key != "lsn_sha256"}
        tensors = load_file(tmp_path / "state")
        names = [name for name in tensors if name.startswith("extra.")]
        assert len(names) >= 5
        wrong = [
            {name: changed}
            for name in names
            if tensors[name].numel() or not name.endswith("logits")  # before the first frame they say nothing
            for changed in (None, tensors[name].int(), torch.zeros(7, 7, 7, dtype=tensors[name].dtype))
        ]
        (times,), (counts,) = ([n for n in names if n.endswith(end)] for end in ("/resets.times", "/stream"))
        values = (math.nan, math.inf, -1e9)
        wrong += [{times: torch.tensor([0, value, 1], dtype=torch.float64)} for value in values[:2]]
        wrong += [{counts: torch.tensor([-1, 0])}]
        for clock in (name for name in names if name.endswith("/clock")):  # after the first frame
            wrong += [{clock: torch.tensor([0, value, 0, 0], dtype=torch.float64)} for value in values]
            wrong += [{clock: torch.tensor([0, 0, 1e9, 0], dtype=torch.float64)}]
            wrong += [{clock: torch.tensor([0, 0, 0, math.inf], dtype=torch.float64)}]
        for changes in wrong:
            kept = {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}
            write_tensors(tmp_path / "wrong", kept, about)
            with pytest.raises(WeightsError, match=r"wrong: .*; use another state, or start the stream without one"):
                predictor.open(state=tmp_path / "wrong")
            assert predictor.engine.num_streams == 0

    def test_the_weights_are_hashed_once_for_each_loaded_model(self, rated, tmp_path, monkeypatch):
        hashed, original = [], weights_module.bytes_of
        monkeypatch.setattr(weights_module, "bytes_of", lambda tensor: hashed.append(0) or original(tensor))
        predictor = StreamingPredictor(rated, capacity=4)
        num_tensors = len(rated.model.state_dict())
        for number in range(3):
            predictor.open().save(tmp_path / str(number))
        predictor.open(state=tmp_path / "0")
        assert len(hashed) == num_tensors
