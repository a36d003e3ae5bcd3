"""Alerts: what somebody must look at, told once, kept until it is over, never on a frame's path."""
