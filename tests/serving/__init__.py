"""The reading room, over a real Redis."""
