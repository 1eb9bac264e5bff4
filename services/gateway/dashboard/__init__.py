"""The web pages: forms, tables and pictures over the same handlers that answer `/v1`."""
