"""Forward-only migrations of the schema `status`."""
