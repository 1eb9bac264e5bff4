"""The `imagineo` command line."""

from imagineo_client.command_line.app import main

__all__ = ["main"]
