"""The queue and the news of the platform: one port, JetStream behind it, and a twin in memory."""
