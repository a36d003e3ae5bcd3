"""The pages for operators, engineers and quality managers. Reads through the store, writes through the service."""
