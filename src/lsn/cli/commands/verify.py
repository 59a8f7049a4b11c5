"""`lsn verify`: proof that a model gives the same numbers as a clip and as a stream."""

from __future__ import annotations

from pathlib import Path

from lsn.cli.ui.console import columns, output


def verify(
    weights: Path, video: str | None = None, /, *, num_frames: int = 32, tolerance: float = 1e-4, compile: bool = False
) -> int:
    """Check that a model gives streams the numbers that it gives clips.

    A video is read as a clip, frame by frame, in chunks, among other streams, and after a save. Exit code 0 if all
    agree, 2 if not.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, of a causal model.
    video
        A video file or a folder of frames; by default noise.
    num_frames
        Frames to compare on.
    tolerance
        Largest difference of logits that passes.
    compile
        Prove it of the network as PyTorch's compiler makes it, which takes minutes.
    """
    from lsn.streaming.verify import verify as run_checks

    checks = run_checks(weights, video, num_frames=num_frames, tolerance=tolerance, compile=compile)
    table = columns("Against the clip", "Largest difference", "Allowed", "", right=("Largest difference", "Allowed"))
    for check in checks:
        limit = f"> {check.limit:.0e}" if check.is_control else f"<= {check.limit:.0e}" if check.limit else "0"
        table.add_row(check.name, f"{check.difference:.2e}", limit, "pass" if check.passed else "FAIL")
    console = output()
    console.print(table)
    failed = [check.name for check in checks if not check.passed]
    console.print(f"\nFAILED: {'; '.join(failed)}" if failed else f"\n{weights}: one checkpoint, one answer")
    return 2 if failed else 0
