"""What a run is, as plain data: its configuration, what identifies it, and the record of its scores."""
