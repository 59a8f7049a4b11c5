"""Prediction on single videos with a trained model, and videos that show it."""
