"""Files and folders of frames: opening them, finding their frames, and decoding those that are asked for."""
