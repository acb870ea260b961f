"""Measurements: each figure beside its twins, taken in the same run."""
