"""The same step in float32 on two instruction sets: equal to rounding, which grows about tenfold with every step.

oneDNN and PyTorch choose their kernels by processor; both can be capped by an environment variable, once per process.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

STEPS = """
import json, torch, lsn
import torch.nn.functional as F
torch.manual_seed(0)
model = lsn.create_model("lsn_test_resnet", num_classes=5, num_frames=8, dropout=0.0, zero_init_memory=False)
model = model.to(memory_format=torch.channels_last).train()
clips = torch.randint(0, 256, (4, 8, 3, 64, 64), dtype=torch.uint8)
labels = torch.arange(4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
losses, norms = [], []
for _ in range(3):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(clips), labels)
    loss.backward()
    norms.append(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
    losses.append(loss.item())
    optimizer.step()
with torch.no_grad():
    logits = model.eval()(clips).flatten().tolist()
print(json.dumps({"losses": losses, "norms": norms, "logits": logits}))
"""


def run_steps(**environment):
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="this processor has no AVX2 to leave out"
)
def test_steps_agree_without_the_newer_instructions():
    here = run_steps()
    capped = run_steps(ONEDNN_MAX_CPU_ISA="SSE41", ATEN_CPU_CAPABILITY="default")
    assert here != capped, "the variables have no effect, so nothing is compared"
    for name in ("losses", "norms"):
        assert capped[name][0] == pytest.approx(here[name][0], rel=1e-6), name
    for name in ("losses", "norms", "logits"):  # of three steps
        largest = max(abs(value) for value in here[name])
        assert capped[name] == pytest.approx(here[name], rel=0, abs=1e-3 * largest), name
