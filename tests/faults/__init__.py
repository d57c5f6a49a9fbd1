"""Faults: a deterministic simulation of the checkpoint, and real processes that are killed, stopped and cut off."""
