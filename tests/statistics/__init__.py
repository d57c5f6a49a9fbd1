"""The estimators, against oracles and as laws."""
