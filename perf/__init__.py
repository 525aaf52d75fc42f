"""Measurements; each module is a command of its own and says what it prints."""
