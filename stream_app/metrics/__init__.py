"""Pure: the catalogue of measures, metrics and windows."""
