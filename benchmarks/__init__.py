"""What Lynceus costs per event: scripts that measure, and print what they measured."""
