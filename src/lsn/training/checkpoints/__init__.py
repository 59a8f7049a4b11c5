"""Checkpoints: all that an interrupted run needs, written in the background with a checksum, the last few kept."""
