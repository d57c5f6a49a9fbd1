"""The client library that other services import: estimates and guards, with a status instead of an exception.

It needs the standard library and redis, and may be copied into another project as it stands. docs/decisions.md is its
contract.
"""
