"""Pure ASGI layers around every route. They know requests and responses, not what the routes mean."""
