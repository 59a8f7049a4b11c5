"""What is made of frames: videos, JPEGs, and pictures drawn on them."""
