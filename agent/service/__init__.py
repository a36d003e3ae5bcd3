"""What a person may do: role, idempotency key, audit event, one transaction."""

from agent.service.ranks import Invalid, PermissionDenied, Refused

__all__ = ["Invalid", "PermissionDenied", "Refused"]
