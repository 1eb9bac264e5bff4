"""The device side of the worker: everything that touches torch. It knows no NATS, no gRPC and no store."""
