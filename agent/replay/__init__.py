"""Frames once more: recorded decisions scored again and compared.

It reads only: it joins no group and writes no offset, inspection or decision.
"""
