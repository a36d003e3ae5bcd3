"""The demo: a rendered product, servers from wheels, and the whole line on one machine."""
