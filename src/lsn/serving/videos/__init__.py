"""Whole videos that are sent to a server: jobs, their progress, and what happens in each video."""
