"""What the services share: errors, ids, the domain of jobs, and the adapters to broker, store, database and gRPC."""
