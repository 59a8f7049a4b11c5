"""Streams that a server reads itself: cameras, addresses and files that it may read."""
