"""The schema's versions, in order."""
