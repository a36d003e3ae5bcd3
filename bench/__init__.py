"""Timings, as ratios against a peer or a ceiling in the same run: `make bench`."""
