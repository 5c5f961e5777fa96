"""Linear scans that compute their factors themselves, from what a projection gives: gates that see the input alone."""
