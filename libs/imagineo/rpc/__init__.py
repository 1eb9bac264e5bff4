"""gRPC between the services: server, channels, calls with deadlines and typed errors, batching of small calls."""
