"""Put the high-order ConvLSTM between the layers of a PyTorch network of your own.

    python examples/memory_in_your_network.py

The task: two flashes in noise, one left and one right. Which came first? The classifier sees the last frame only, and
that shows neither.
"""

import torch
from torch import Tensor, nn

from lsn.models import HOConvLSTM


class Net(nn.Module):
    """Convolution and memory on every frame, classifier on the last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1)
        self.memory = HOConvLSTM(16, reduction=1)  # keeps the shape; a new one is the identity
        self.head = nn.Linear(16 * 4 * 4, 2)

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Class scores (B, 2) after the last frame."""
        B, T = clip_BTCHW.shape[:2]
        x_BTCHW = nn.functional.relu(self.stem(clip_BTCHW.flatten(0, 1))).unflatten(0, (B, T))
        x_BTCHW, _state = self.memory(x_BTCHW)  # hand the state on to continue with the next frames
        return self.head(x_BTCHW[:, -1].flatten(1))


def flashes(num_clips: int) -> tuple[Tensor, Tensor]:
    """Clips (B, 10, 1, 8, 8) with a flash on either side at frames 2 and 6, and which side was first."""
    clip_BTCHW, first_B = 0.1 * torch.rand(num_clips, 10, 1, 8, 8), torch.randint(0, 2, (num_clips,))
    for clip_TCHW, first in zip(clip_BTCHW, first_B.tolist(), strict=True):
        for frame, side in ((2, first), (6, 1 - first)):
            clip_TCHW[frame, 0, :, 4 * side : 4 * side + 4] = 1
    return clip_BTCHW, first_B


def main() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for step in range(30):
        clip_BTCHW, first_B = flashes(32)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(clip_BTCHW), first_B)
        loss.backward()
        optimizer.step()
        print(f"step {step + 1}: loss {loss.item():.3f}", end="\r")
    clip_BTCHW, first_B = flashes(256)
    with torch.inference_mode():
        is_right_B = net.eval()(clip_BTCHW).argmax(dim=1) == first_B
    print(f"\nright on {is_right_B.float().mean().item():.1%} of new clips")


if __name__ == "__main__":
    main()
