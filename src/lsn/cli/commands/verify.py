"""`lsn verify`: proof that a model gives the same numbers as a clip and as a stream."""

from __future__ import annotations

from pathlib import Path

from lsn.cli.ui.console import columns, output
from lsn.inference.runtimes.names import PYTORCH, RuntimeName


def verify(
    weights: Path,
    video: str | None = None,
    /,
    *,
    num_frames: int = 32,
    tolerance: float = 1e-4,
    runtime: RuntimeName = "pytorch",
) -> int:
    """Check that a model gives streams the numbers that it gives clips.

    A video is read as a clip, frame by frame, in chunks, among other streams, and after a save. Exit code 0 if all
    agree, 2 if not.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, or a name of the Hub; of a causal model.
    video
        A video file or a folder of frames; by default noise.
    num_frames
        Frames to compare on.
    tolerance
        Largest difference of logits that passes; of exports, relative to the largest logit.
    runtime
        pytorch; compiled, which takes minutes; or onnx or openvino, as lsn export wrote it into the weights, which is
        compared with PyTorch.
    """
    console = output()
    if runtime in PYTORCH:
        from lsn.streaming.verify import verify as run_checks

        checks = run_checks(
            weights, video, num_frames=num_frames, tolerance=tolerance, is_compiled=runtime == "compiled"
        )
        rows = [(check.name, check.difference, check.limit, check.is_control, check.passed) for check in checks]
    else:
        from lsn.export.proof import verify_export

        lines = verify_export(weights, runtime, video, num_frames=num_frames, tolerance=tolerance)
        rows = [(line.check, line.difference, line.limit, False, line.passed) for line in lines]
    against = "Against the clip" if runtime in PYTORCH else "Against PyTorch"
    table = columns(against, "Largest difference", "Allowed", "", right=("Largest difference", "Allowed"))
    for name, difference, limit, is_control, passed in rows:
        allowed = f"> {limit:.0e}" if is_control else f"<= {limit:.0e}" if limit else "0"
        table.add_row(name, f"{difference:.2e}", allowed, "pass" if passed else "FAIL")
    console.print(table)
    failed = [name for name, *_, passed in rows if not passed]
    console.print(f"\nFAILED: {'; '.join(failed)}" if failed else f"\n{weights}: one checkpoint, one answer")
    return 2 if failed else 0
