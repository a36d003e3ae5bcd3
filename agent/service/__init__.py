"""What a person may do: role, idempotency key, audit event, one transaction."""
