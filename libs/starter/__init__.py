"""The embedded starter model: its data, training recipe, evaluation and weights.

Nothing here runs while the platform serves; the worker only reads `weights/`.
"""
