"""Engines behind one Scorer interface. Torch is the reference."""

from model.engines.pytorch import Scored, Scorer

__all__ = ["Scored", "Scorer"]
