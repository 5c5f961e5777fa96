"""Data of the user's own, in files or in memory: any sequences with a label or values, for each or at each step."""
