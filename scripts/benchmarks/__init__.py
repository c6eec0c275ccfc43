"""Measurements of the harness and of the pack, each beside something comparable in the same run."""
