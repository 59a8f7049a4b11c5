"""The one command for a GPU: each step ends, whatever it does, and is reported; the scripts take its options."""

import json
import time
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def on_gpu(import_script):
    return import_script("on_gpu")


@pytest.mark.slow
def test_steps_that_pass_fail_and_hang(on_gpu, tmp_path):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(1000)'])"
    compared = "from interleave import compare; compare('a / b', lambda: 1, lambda: 2, 3)"
    here = f"import sys; sys.path.insert(0, {str(Path(on_gpu.__file__).parent)!r}); "
    steps = [
        on_gpu.Step("good", ("-c", here + compared), 60),
        on_gpu.Step("bad", ("-c", "print('some words'); raise SystemExit(3)"), 60),
        on_gpu.Step("hung", ("-c", child), 1),
    ]
    start = time.monotonic()
    outcomes = [on_gpu.run(step, tmp_path) for step in steps]
    assert time.monotonic() - start < 100

    assert [outcome.exit_code for outcome in outcomes] == [0, 3, None]
    (comparison,) = outcomes[0].comparisons
    assert comparison["name"] == "a / b" and comparison["ratio"] > 0
    assert outcomes[1].output == "some words\n"
    on_gpu.write(tmp_path / "out", {"gpu": "none"}, outcomes)
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert [step["name"] for step in written["steps"]] == ["good", "bad", "hung"]
    page = (tmp_path / "out/results.md").read_text()
    assert page.startswith("## On a GPU\n") and "| a / b | " in page
    assert "| bad | failed (3) |" in page and "| hung | out of time |" in page and "some words" in page


def test_all_steps_together_take_at_most_six_minutes(on_gpu):
    assert sum(step.limit_seconds for step in on_gpu.STEPS) <= 360


@pytest.mark.parametrize("script", ["recurrence", "network", "step_cost", "stage_profile"])
def test_the_scripts_know_their_options(on_gpu, import_script, monkeypatch, script):
    (arguments,) = [step.arguments[1:] for step in on_gpu.STEPS if step.arguments[0].endswith(f"{script}.py")]
    monkeypatch.setattr(torch, "set_num_threads", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):  # the options were read; work would begin
        import_script(script).main(list(arguments))


@pytest.mark.skipif(torch.cuda.is_available(), reason="would run everything")
def test_without_a_gpu_nothing_runs(on_gpu, tmp_path, capsys):
    assert on_gpu.main(["--out", str(tmp_path / "out")]) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        on_gpu.main(["nonsense"])
