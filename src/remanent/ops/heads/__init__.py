"""Heads of K stable states: their tables and states, the scans that look tables up, and their parts of the time."""
