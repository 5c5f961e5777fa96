"""Recall tasks: tokens to be found among others, and given again when they are asked for."""
