"""The service of webhooks: registered endpoints, and the delivery of every event to those who want it."""
