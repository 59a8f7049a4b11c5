"""Timelines: long videos and the events in them, read from and written to what annotation tools use."""
