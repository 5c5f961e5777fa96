"""What a step of training may be beside the plain one: of several batches, in a stream, compiled, averaged."""
