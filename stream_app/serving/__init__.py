"""The room that reads: windows, estimates, exporter, API and wall."""
