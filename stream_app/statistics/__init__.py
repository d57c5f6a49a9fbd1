"""Pure: closed-form estimators and their intervals."""
