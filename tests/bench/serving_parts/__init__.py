"""The starter behind what one would pick instead: each framework with its own batching, and one model."""
