"""A package to pytest, so that what it shares ends with it."""
