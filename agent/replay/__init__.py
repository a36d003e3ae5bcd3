"""Frames once more: recorded decisions scored again and compared, dead letters published again.

Scoring again reads only: it joins no group and writes no offset, inspection or decision.
"""
