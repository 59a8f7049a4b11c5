"""How good a model is: what it sees of a video, metrics of clips, and results on disk."""
