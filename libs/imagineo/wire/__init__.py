"""Small converters between the domain's types and the protocol's messages."""
