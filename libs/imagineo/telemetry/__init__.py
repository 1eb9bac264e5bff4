"""Logs, metrics and readiness, the same in every service."""
