"""The linear scan of complex numbers in real arithmetic: each number is a pair of real ones, side by side."""
