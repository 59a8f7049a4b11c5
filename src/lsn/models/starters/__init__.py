"""Starter weights: small streaming models that come with LSN, trained on synthetic videos alone."""
