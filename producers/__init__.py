"""Every way an interaction gets in: SDK, replay, simulated world."""
