"""Reverse distillation for visual inspection: learns from good images only. A library of its own.

Names load when they are first used, so that `model.statistics` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.certificate import Certificate, certify
    from model.distillation import ReverseDistillation
    from model.engines import Scored, Scorer
    from model.evaluation import evaluate
    from model.training import TrainingSettings, train

_HOMES = {
    "Certificate": "model.certificate",
    "certify": "model.certificate",
    "ReverseDistillation": "model.distillation",
    "Scored": "model.engines",
    "Scorer": "model.engines",
    "evaluate": "model.evaluation",
    "TrainingSettings": "model.training",
    "train": "model.training",
}
__all__ = [
    "Certificate",
    "ReverseDistillation",
    "Scored",
    "Scorer",
    "TrainingSettings",
    "certify",
    "evaluate",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'model' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
