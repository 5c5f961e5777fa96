"""Tasks on recordings of speech, and how a recording becomes frames of features."""
