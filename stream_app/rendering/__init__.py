"""Pure: what is generated from the catalogue, as text."""
