"""Requests that leave the platform for an address that a client named: which URLs and addresses are let out."""
