"""The starter behind what one would pick instead: each framework with its own batching, one model, one thread."""
