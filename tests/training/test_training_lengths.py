"""A network that learned from short clips runs on clips, and in streams, of any length."""

import pytest
import torch

from lsn.distributed import World
from lsn.models import create_model
from lsn.training.batch_norm import enter_training
from lsn.training.carry import CarriedState, StatefulModel
from lsn.training.step import ClipPass, StepContext, train_step

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def trained():
    """A network after three steps on clips of 4 frames."""
    torch.manual_seed(0)
    model = create_model("lsn_ss_test_resnet", num_classes=3, num_frames=4, shift="causal", dropout=0.0)
    context = StepContext(
        StatefulModel(model),
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.amp.GradScaler("cpu", enabled=False),
        ALONE,
        clip_grad_norm=5.0,
        tbptt_frames=2,
        carried=CarriedState(0.5, ALONE),
    )
    enter_training(model, [])
    for _ in range(3):
        clips = torch.randn(4, 4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
        train_step(context, [ClipPass(*clips)], where="a step", num_items=4)
    assert any(block.expand[1].weight.any() for block in model.memory.values())
    return model.double().eval()


@pytest.mark.parametrize(("num_frames", "chunk"), [(8, 3), (64, 16), (1024, 100)])
def test_steps_in_chunks_are_the_clip_at_any_length(trained, num_frames, chunk):
    clip = torch.randn(1, num_frames, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    parts, sizes, state = [], set(), None
    with torch.inference_mode():
        whole = trained.forward_frames(clip)
        for frames in clip.split(chunk, dim=1):
            logits, state = trained.step(frames, state)
            parts.append(logits)
            sizes.add(state.num_bytes)

    assert whole.shape == (1, num_frames, 3)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-9)
    assert state.num_frames_B.tolist() == [num_frames]
    assert len(sizes) == 1
