"""Manifests of trimmed clips: reading, checking, splitting and describing them."""
