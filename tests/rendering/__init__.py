"""Pages rendered from the catalogue."""
