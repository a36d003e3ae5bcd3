"""The way of a frame: intake, decode, score, evidence, record, relay; threads joined by queues.

What is in flight is bounded by one budget of frames and bytes, so the queues themselves need no bound and no thread can
wait for one that waits for it.
"""
