"""Tasks on images that are read step by step, and where the images come from."""
