"""Collections of videos on Ray Data: every video is accounted for once, whatever happens on the way."""

from lsn.batch.model import BatchModel
from lsn.batch.run import BatchOptions, BatchProgress, BatchResult, run_batch

__all__ = ["BatchModel", "BatchOptions", "BatchProgress", "BatchResult", "run_batch"]
