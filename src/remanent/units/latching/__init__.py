"""Units whose states are held until an input moves them: latches, which are set or hold, and heads of K states."""
