"""From a manifest to batches of clips, read in this process or by workers."""
