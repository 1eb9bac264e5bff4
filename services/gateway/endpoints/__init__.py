"""What each route answers. A handler translates between REST and the services; it decides nothing of the domain."""
