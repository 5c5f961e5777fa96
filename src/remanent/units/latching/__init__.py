"""The units that set or hold: one family per file, around what they share."""
