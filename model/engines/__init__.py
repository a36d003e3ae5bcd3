"""Engines behind one Scorer interface. Torch is the reference."""

from model.engines.base import Engine, EngineError, OutOfMemory, Scored
from model.engines.scorer import FrameScorer, Scorer

__all__ = ["Engine", "EngineError", "FrameScorer", "OutOfMemory", "Scored", "Scorer"]
