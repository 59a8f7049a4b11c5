"""Evaluation of a model on a manifest, prediction on single videos, and streams."""
