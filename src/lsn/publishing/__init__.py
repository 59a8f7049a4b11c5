"""Trained weights for others: a model card written from what was measured, and the way to the Hub."""
