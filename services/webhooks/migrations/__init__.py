"""The schema `webhooks`, by version: each .py names its place in the order, the .sql beside it is what it does."""
