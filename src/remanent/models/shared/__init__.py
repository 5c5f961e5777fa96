"""What every model can beside its computation: leave a process and come back, by file or hub, and stream."""
