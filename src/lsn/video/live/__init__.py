"""Cameras, addresses and other sources whose frames come one after the other: read in a thread, reconnected, timed."""
