"""From the agent's settings and a product's own input to the model's training settings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.cli import checks
from agent.retrain.scoring import input_spec, open_scorer, training_settings
from agent.settings import Settings
from model.images import InputError, InputSpec, ignore_mask
from model.training import TrainingSettings, train
from tests.teachers import random_resnet18


def settings(**training: object) -> Settings:
    return Settings.model_validate({"training": training, "scoring": {"device": "cpu", "precision": "fp32"}})


def mask(path: Path, column: int) -> str:
    picture = np.zeros((16, 16), np.uint8)
    picture[:, column] = 255
    cv2.imwrite(str(path), picture)
    return ignore_mask(path)


def test_the_defaults_of_the_settings_are_the_models_own() -> None:
    wanted = Settings.model_validate({})
    assert training_settings(wanted) == TrainingSettings()


def test_every_setting_arrives() -> None:
    wanted = settings(
        teacher="resnet18", weights="w.pth", height=64, width=128, steps=7, batch_size=3, seed=5, learning_rate=0.01,
        memory_share=0.25, positional=False,
    )  # fmt: skip
    assert training_settings(wanted, threads=2) == TrainingSettings(
        teacher="resnet18", weights="w.pth", spec=InputSpec(64, 128), steps=7, batch_size=3, seed=5,
        learning_rate=0.01, share=0.25, positional=False, device="cpu", precision="fp32", threads=2,
    )  # fmt: skip


def test_a_products_own_values_go_before_the_configured_ones(tmp_path: Path) -> None:
    configured = mask(tmp_path / "m.png", 3)
    wanted = settings(height=128, rows=2, overlap=0.25, ignore=str(tmp_path / "m.png"))
    assert input_spec(wanted, None) == InputSpec(128, 256, rows=2, overlap=0.25, ignore=configured)
    own = {"width": 64, "rows": 1, "region": [0.5, 0, 1, 1], "ignore": ""}
    assert input_spec(wanted, own) == InputSpec(128, 64, region=(0.5, 0, 1, 1), overlap=0.25)
    other = mask(tmp_path / "other.png", 7)
    assert input_spec(wanted, {"ignore": other}).ignore == other
    made = training_settings(wanted, teacher="resnet18", own=own)
    assert (made.teacher, made.spec.width) == ("resnet18", 64)


def test_a_plain_file_is_the_configured_teachers_and_no_others() -> None:
    wanted = settings(teacher="resnet18", weights="w.pth")
    assert training_settings(wanted).weights == training_settings(wanted, teacher="resnet18").weights == "w.pth"
    assert training_settings(wanted, teacher="efficientnet_lite2").weights == ""


def test_products_of_two_teachers_live_side_by_side(tmp_path: Path) -> None:
    """One has its weights in a file, the other in a package; either may be the configured one."""
    file = random_resnet18(tmp_path)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(5)]
    for configured in ("resnet18", "efficientnet_lite2"):
        wanted = settings(teacher=configured, weights={"resnet18": file}, height=64, width=64, memory_share=1.0)
        for teacher in ("resnet18", "efficientnet_lite2"):
            made = train(frames, training_settings(wanted, teacher=teacher, threads=1))
            assert np.isfinite(open_scorer(wanted, made, threads=1).score(frames[:1])[0].score)


def test_doctor_reads_every_file_that_is_named(tmp_path: Path) -> None:
    whole = checks.teacher(settings(weights={"resnet18": random_resnet18(tmp_path)}))
    assert whole.ok and whole.found == "efficientnet_lite2, resnet18 load"
    gone = checks.teacher(settings(weights={"resnet18": str(tmp_path / "gone.pth")}))
    assert not gone.ok and "gone.pth" in gone.found


def test_nothing_trains_in_int8() -> None:
    wanted = Settings.model_validate({"scoring": {"engine": "openvino", "precision": "int8"}})
    assert training_settings(wanted).precision == "auto"


def test_a_mask_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.png"):
        training_settings(settings(ignore=str(tmp_path / "nowhere.png")))
