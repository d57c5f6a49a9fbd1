"""The room that counts, and the only one that knows Faust."""
