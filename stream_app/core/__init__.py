"""Pure: from bytes to tallies. Knows no metric by name, no clock, no network."""
