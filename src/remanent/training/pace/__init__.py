"""The pace of a training: when sequences grow longer, when epsilon and the learning rate fall, when the run ends."""
