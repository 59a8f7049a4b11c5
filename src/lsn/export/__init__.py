"""Trained models as graphs for other runtimes, compared with PyTorch when they are written."""
