"""What the catalogue's measures grow by."""
