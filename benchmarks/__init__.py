"""What Lynceus costs per event, and what its verdicts are worth: scripts that measure, and print what they measured."""
