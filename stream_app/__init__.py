"""Lynceus, the watchman of personalization: exact windowed metrics from interaction events, live."""
