"""What a batch runs over its videos, so that every worker can open it for itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from lsn.config import EvaluationConfig
from lsn.errors import ConfigError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.inference.predictor import Predictor
from lsn.inference.runtimes.names import RuntimeName
from lsn.streaming.predictor import StreamingPredictor
from lsn.streaming.settings import StreamSettings


@dataclass(frozen=True)
class BatchModel:
    """A model of clips, or of long videos."""

    weights: str
    """Where workers find them: a folder that all machines have, starter weights, or a name of the Hub."""
    runtime: RuntimeName | None
    device: str
    labels: tuple[str, ...]
    """Names of the classes in label order."""
    fingerprint: str
    """A hash of the weights."""
    protocol: EvaluationProtocol | None = None
    """How clips are seen; None for long videos."""
    settings: StreamSettings | None = None
    """How long videos are seen; None for clips."""

    @classmethod
    def of(
        cls,
        predictor: Predictor | StreamingPredictor,
        weights: str,
        *,
        runtime: RuntimeName | None = None,
        device: str = "auto",
    ) -> Self:
        """What this predictor, made of these weights, would do.

        Raises:
            ConfigError: it looks for cuts of scenes, which parts of a video that are read apart do not show.
        """
        if isinstance(predictor, Predictor):
            fingerprint = predictor.runtime.fingerprint
            return cls(weights, runtime, device, predictor.labels, fingerprint, protocol=predictor.protocol)
        if predictor.settings.resets.scene_cut is not None:
            raise ConfigError("a batch reads videos in parts and looks for no scene cuts; leave them out")
        fingerprint = predictor.engine.runtime.fingerprint
        return cls(weights, runtime, device, predictor.labels, fingerprint, settings=predictor.settings)

    def clip_predictor(self) -> Predictor:
        """A model of clips of one's own."""
        own = self.protocol
        assert own is not None
        evaluation = EvaluationConfig(
            num_clips=own.num_clips, num_crops=own.num_crops, average=own.average, batch_size=own.batch_size
        )
        return Predictor(self.weights, runtime=self.runtime, device=self.device, evaluation=evaluation)

    def streaming_predictor(self) -> StreamingPredictor:
        """A model of long videos of one's own."""
        own = self.settings
        assert own is not None
        return StreamingPredictor(
            self.weights,
            runtime=self.runtime,
            device=self.device,
            fps=own.fps,
            consensus=own.consensus,
            resets=own.resets,
            events=own.events,
        )

    def describe(self) -> dict[str, Any]:
        """All that results depend on, as plain data."""
        seen = self.protocol or self.settings
        assert seen is not None
        return {"weights": self.fingerprint, "runtime": self.runtime or "pytorch", **asdict(seen)}
