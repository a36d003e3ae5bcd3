"""The command line as its users type it: what works, and one clear line for what does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.cli import COMMANDS
from agent.cli import epochs as cli_epochs
from agent.cli import products as cli_products
from agent.cli import rates as cli_rates
from agent.demo.broker import KafkaBroker, create_topics
from agent.demo.server import free_port
from agent.frame import StreamKey
from agent.service import reviews
from agent.settings import Kafka, utc_now
from agent.store import alerts, epochs, inspections, items, offsets, replays, users
from agent.store.blobs import keep
from agent.store.engine import open_engine, reading, writing
from agent.store.local_blobs import LocalBlobs
from model.artifact import load
from model.images import InputSpec, decode
from tests.commands import goodpart
from tests.databases import NOW, Line, line


@pytest.fixture(scope="module")
def new_plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and an admin."""
    folder = tmp_path_factory.mktemp("plant")
    goodpart("db", "upgrade", folder=folder)
    goodpart("users", "add", "ada", "--role", "admin", folder=folder)
    return folder


@pytest.fixture
def plant(new_plant: Path, tmp_path: Path) -> Path:
    """One for a test alone."""
    return shutil.copytree(new_plant, tmp_path, dirs_exist_ok=True)


def test_the_script_lists_every_command(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "goodpart"
    done = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [name for name in COMMANDS if f" {name} " not in done.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, tmp_path: Path) -> None:
    assert "Example: goodpart" in goodpart(command, "--help", folder=tmp_path, fresh=True)


def test_a_line_is_set_up_from_the_command_line(plant: Path) -> None:
    def run(*words: str) -> str:
        return goodpart(*words, "--as", "ada", folder=plant)

    run("users", "add", "olga", "--role", "operator")
    run("products", "add", "flange", "--review-rate", "0.1")
    run("products", "set", "flange", "--review-rate", "0.02")
    cv2.imwrite(str(plant / "mask.png"), np.eye(40, dtype=np.uint8) * 255)
    shape = (
        "--size",
        "256x512",
        "--fit",
        "letterbox",
        "--region",
        "0.1,0,0.9,1",
        "--tiles",
        "1x2",
        "--overlap",
        "0.25",
    )
    run("products", "set", "flange", *shape, "--ignore", "mask.png")
    run("stations", "add", "press-1", "--product", "flange")
    run("products", "add", "bracket")
    run("stations", "set", "press-1", "--product", "bracket", "--silent-after", "90")
    (station,) = json.loads(goodpart("stations", "list", "--json", folder=plant))
    assert (station["product"], float(station["silent_after_s"])) == ("bracket", 90)
    assert "nothing is kept" in goodpart("stations", "relearn", "press-1", "--as", "ada", folder=plant, ok=False)
    products = {one["name"]: one for one in json.loads(goodpart("products", "list", "--json", folder=plant))}
    assert products["flange"]["review_rate"] == 0.02
    said = "256x512 letterbox region 0.1,0,0.9,1 tiles 1x2 overlap 0.25 ignore mask"
    assert (products["flange"]["input"], products["bracket"]["input"]) == (said, "256x256 stretch")
    run("products", "set", "flange", "--reset-input", "--size", "128")
    assert json.loads(goodpart("products", "list", "--json", folder=plant))[1]["input"] == "128x128 stretch"
    assert {one["role"] for one in json.loads(goodpart("users", "list", "--json", folder=plant))} == {
        "admin",
        "operator",
    }


def test_what_a_replay_found_is_kept_with_who_asked(plant: Path) -> None:
    goodpart("products", "add", "flange", "--as", "ada", folder=plant)
    goodpart("stations", "add", "press-1", "--product", "flange", "--as", "ada", folder=plant)
    engine = open_engine(f"sqlite:///{plant / 'goodpart.db'}")
    store = LocalBlobs(plant / "blobs")
    picture = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    frame = keep(engine, store, picture, "image/png", utc_now())
    with writing(engine) as conn:
        stream = offsets.stream_id(conn, StreamKey("cluster", "topic-id", "goodpart.frames"), NOW)
        (ada,) = users.all(conn)
        here = Line(engine, ada, ada, ada, ada, product_id=1, station_id=1, stream_id=stream)
        row = here.inspection(0, "not_inspected", event_at=NOW, reason="no_model", score=None, captured_at=None)
        inspections.add_all(conn, [row])
        items.add_all(conn, [here.new_item(0, kind="failed", verdict="not_inspected", frame_sha256=frame)])
    spool = {"GOODPART_SOURCE__KIND": "directory"}
    said = goodpart("replay", "--from=2026-03-01", "--to=2026-03-03", "--as=ada", folder=plant, environ=spool)
    assert said.strip().splitlines()[-1] == "1 identical"
    with reading(engine) as conn:
        ((kept,),) = replays.of_records(conn, [(NOW, stream, 0, 0)]).values()
    engine.dispose()
    assert (kept.agreement, kept.verdict, kept.user, kept.engine) == ("identical", "not_inspected", "ada", None)


def test_alerts_are_listed_and_acknowledged(plant: Path) -> None:
    engine = open_engine(f"sqlite:///{plant / 'goodpart.db'}")
    with writing(engine) as conn:
        for kind, subject in (("data_gap", "partition:t/0"), ("station_silent", "station:s")):
            alerts.raise_(
                conn, kind, subject, "look", level="error", detail={}, event=kind == "data_gap", now=utc_now()
            )
    engine.dispose()
    assert "is closed" in goodpart("alerts", "acknowledge", "1", "--as", "ada", folder=plant)
    assert "stays open" in goodpart("alerts", "acknowledge", "2", "--as", "ada", folder=plant)
    assert "needs nobody" in goodpart("alerts", "acknowledge", "1", "--as", "ada", folder=plant, ok=False)
    (found,) = json.loads(goodpart("alerts", "list", "--json", folder=plant))
    assert (found["id"], found["kind"], found["acknowledged_by"]) == (2, "station_silent", "ada")
    assert [one["state"] for one in json.loads(goodpart("alerts", "list", "--all", "--json", folder=plant))] == [
        "open", "over",
    ]  # fmt: skip


def test_a_changed_camera_is_an_epoch_and_rates_come_of_audited_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    opening = ("epochs", "open", "flange", "--cause", "camera", "--reason", "new lamp", "--as", "engineer")
    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            epochs.open(conn, here.product_id, "import", "imported images", now=utc_now())
            item = here.add_item(conn, 1, kind="audit", verdict="pass", event_at=utc_now() - timedelta(days=2))
        reviews.decide(here.engine, here.operator, item.id, "normal", key="1", now=utc_now())
    said = goodpart(*opening, folder=tmp_path)
    assert (
        "opened epoch 2 of flange; 10% of its parts" in said
        and "look 1 needs 82 calibration parts for 5.00%, and 0 are there" in said
    )
    said = goodpart("rates", "--product", "flange", folder=tmp_path)
    assert "flange at press-1: 1 of 1 audit windows" in said and "0 of 1 audited passes" in said

    def printed(command: Callable[..., None], *words: str, **options: Any) -> Any:
        command(*words, json=True, **options)
        return json.loads(capsys.readouterr().out)

    assert [(one["cause"], one["calibrates"], one["why"]) for one in printed(cli_epochs.list_, "flange")] == [
        ("import", "no", "imported images"), ("camera", "yes", "new lamp"),
    ]  # fmt: skip
    assert "new lamp" in printed(cli_products.list_)[0]["lapsed"]
    (found,) = printed(cli_rates.rates)
    assert (found["station"], found["escape_rate"]["n"], found["escape_rate"]["low"]) == ("press-1", 1, 0)
    assert printed(cli_rates.rates, days=1) == []
    cli_epochs.list_("flange")
    said = capsys.readouterr().out
    assert "lapsed: there is no certificate since" in said and "no training run starts by itself: look 1 needs" in said


def test_who_may_not_is_told_so(plant: Path) -> None:
    goodpart("users", "add", "olga", "--role", "operator", "--as", "ada", folder=plant)
    assert "engineer" in goodpart("products", "add", "x", "--as", "olga", folder=plant, ok=False)
    assert "no user 'nobody'" in goodpart("products", "add", "x", "--as", "nobody", folder=plant, ok=False)


def test_passwords_and_pins_come_from_standard_input_and_open_the_dashboard_to_others(plant: Path) -> None:
    outside = {"GOODPART_DASHBOARD__HOST": "0.0.0.0", "GOODPART_DASHBOARD__URL": "https://goodpart.example"}
    refused = goodpart("dashboard", folder=plant, ok=False, environ=outside)
    assert "nobody has a password yet" in refused and "goodpart users password NAME" in refused
    kim = ("users", "add", "kim", "--role", "operator", "--as", "ada")
    assert "10 to 200 characters" in goodpart(*kim, "--stdin", folder=plant, ok=False, typed="short\n")
    assert "added operator kim" in goodpart(*kim, "--stdin", folder=plant, typed="a long password\n")
    assert "give it with --stdin" in goodpart("users", "password", "kim", "--as", "kim", folder=plant, ok=False)
    goodpart("users", "password", "kim", "--stdin", "--as", "kim", folder=plant, typed="another password\n")
    goodpart("users", "pin", "kim", "--stdin", "--as", "kim", folder=plant, typed="2580\n")
    kim_may_not = goodpart("users", "pin", "ada", "--stdin", "--as", "kim", folder=plant, ok=False, typed="2580\n")
    assert "needs the role admin" in kim_may_not
    listed = {one["name"]: one for one in json.loads(goodpart("users", "list", "--json", folder=plant))}
    assert (listed["kim"]["password"], listed["kim"]["pin"], listed["ada"]["password"]) == ("yes", "yes", "no")
    outside = {"GOODPART_DASHBOARD__HOST": "0.0.0.0"}
    assert "set dashboard.url" in goodpart("dashboard", folder=plant, ok=False, environ=outside)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--size", "100"), "multiple of 32"),
        (("--size", "256*512"), "256x512, height first"),
        (("--region", "0.5,0,1"), "0.1,0,0.9,1"),
        (("--region", "0.5,0,0.4,1"), "0.1,0,0.9,1"),
        (("--tiles", "two"), "1x2, rows first"),
        (("--ignore", "nowhere.png"), "nowhere.png"),
        ((), "nothing to change"),
    ],
)
def test_an_input_that_cannot_be_is_one_line(plant: Path, words: tuple[str, ...], expected: str) -> None:
    goodpart("products", "add", "flange", "--as", "ada", folder=plant)
    said = goodpart("products", "set", "flange", *words, "--as", "ada", folder=plant, ok=False).strip()
    assert expected in said
    assert len(said.splitlines()) == 1, said


def test_images_become_samples_or_one_line_says_why_not(plant: Path) -> None:
    photos = plant / "photos"
    goodpart("products", "add", "flange", "--as", "ada", folder=plant)

    def bring(ok: bool = True) -> str:
        return goodpart("samples", "import", "photos", "--product", "flange", "--as", "ada", folder=plant, ok=ok)

    assert "no such folder" in bring(ok=False)
    photos.mkdir()
    assert "is empty" in bring(ok=False)
    (photos / "other").mkdir()
    assert "no images in train/good or good" in bring(ok=False)
    (photos / "good").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        cv2.imwrite(str(photos / "good" / f"{number}.png"), rng.integers(0, 255, (32, 32, 3), np.uint8))
    assert "4" in bring(ok=False)
    for number in range(4, 40):
        cv2.imwrite(str(photos / "good" / f"{number}.png"), rng.integers(0, 255, (32, 32, 3), np.uint8))
    (photos / "good" / "broken.jpg").write_bytes(b"\xff\xd8 no")
    assert "broken.jpg" in bring(ok=False)
    assert json.loads(goodpart("samples", "list", "--product", "flange", "--json", folder=plant)) == []
    (photos / "good" / "broken.jpg").unlink()
    assert "24 train" in bring()
    assert len(json.loads(goodpart("samples", "list", "--product", "flange", "--json", folder=plant))) == 40


def test_training_a_file_and_measuring_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for place, count in (("train/good", 30), ("test/good", 4), ("test/spot", 4)):
        (tmp_path / "photos" / place).mkdir(parents=True)
        for number in range(count):
            picture = np.clip(rng.normal(120, 6, (64, 64, 3)), 0, 255).astype(np.uint8)
            if place == "test/spot":
                cv2.circle(picture, (30, 30), 9, (255, 255, 255), -1)
            cv2.imwrite(str(tmp_path / "photos" / place / f"{number}.png"), picture)
    fp32 = {"GOODPART_SCORING__PRECISION": "fp32"}

    def train(*words: str) -> Any:
        options = ("--out", "m.safetensors", "--size", "64", "--seed", "1", "--json", *words)
        return json.loads(goodpart("train", *options, folder=tmp_path, environ=fp32))

    def evaluate(*words: str) -> Any:
        options = ("m.safetensors", "photos", "--json", *words)
        return json.loads(goodpart("evaluate", *options, folder=tmp_path, environ=fp32))

    said = train("--images", "photos", "--steps", "5")
    assert said["evaluation"]["image_auroc"] > 0.9
    assert load(tmp_path / "m.safetensors").manifest.settings["steps"] == 5
    assert (tmp_path / "m.certificate.json").exists()
    assert evaluate("--report", "report.png") == said["evaluation"]
    assert decode((tmp_path / "report.png").read_bytes()).shape[1] > 1000
    quick = train("photos", "--quick", "--fit", "letterbox", "--region", "0,0,1,0.5")  # also without --images
    assert quick["evaluation"]["n_defect"] == 4
    made = load(tmp_path / "m.safetensors")
    assert (made.manifest.spec, made.learner) == (InputSpec(64, 64, "letterbox", (0.0, 0.0, 1.0, 0.5)), {})
    assert "no paper score" in goodpart(
        "evaluate", "m.safetensors", "photos", "--score", "paper", folder=tmp_path, ok=False, environ=fp32
    )
    (tmp_path / "m.safetensors").write_bytes(b"junk")
    assert "m.safetensors" in goodpart("evaluate", "m.safetensors", "photos", folder=tmp_path, ok=False)


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (("agent",), {}, "goodpart db upgrade"),
        (("db", "check"), {}, "goodpart db upgrade"),
        (("agent",), {"GOODPART_KAFKA__BOOTSTRP": "x"}, "kafka.bootstrp"),
        (("agent",), {"GOODPART_DATABASE__URL": "nonsense"}, "database"),
        (("agent", "--config", "nowhere.toml"), {}, "nowhere.toml"),
        (("train", "nowhere", "--out", "x.safetensors"), {}, "no such folder"),
        (("demo", "--images", "nowhere", "--no-dashboard"), {}, "no such folder"),
        (("camera", "nowhere", "--station", "s"), {}, "is no folder, and OpenCV opens no video there"),
    ],
)
def test_what_cannot_work_is_one_line(
    words: tuple[str, ...], environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    said = goodpart(*words, folder=tmp_path, ok=False, environ=environ).strip()
    assert expected in said
    assert len(said.splitlines()) == 1, said
    assert list(tmp_path.iterdir()) == [], "nothing half-written may stay"


def test_no_broker_and_no_weights_are_one_line_each(plant: Path) -> None:
    nobody = {"GOODPART_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}"}
    (plant / "photos").mkdir()
    cv2.imwrite(str(plant / "photos" / "1.png"), np.zeros((8, 8, 3), np.uint8))
    assert "no Kafka broker answers" in goodpart(
        "camera", "photos", "--station", "s", "--unbuffered", folder=plant, ok=False, environ=nobody
    )
    (plant / "photos" / "good").mkdir()
    for number in range(30):
        cv2.imwrite(str(plant / "photos" / "good" / f"{number}.png"), np.full((64, 64, 3), number, np.uint8))
    said = goodpart("train", "photos", "--out", "m.safetensors", "--teacher", "resnet18", folder=plant, ok=False)
    assert "--weights" in said
    assert not (plant / "m.safetensors").exists()


def test_doctor_has_a_fix_for_everything_that_fails(plant: Path) -> None:
    dead = f"127.0.0.1:{free_port()}"
    broken = {"GOODPART_KAFKA__BOOTSTRAP": dead, "GOODPART_REDIS__URL": f"redis://{dead}/0"}
    found = {
        one["name"]: one for one in json.loads(goodpart("doctor", "--json", folder=plant, ok=False, environ=broken))
    }
    assert {name for name, one in found.items() if not one["ok"]} == {"broker", "redis"}
    assert all(one["fix"] for one in found.values() if not one["ok"])
    with KafkaBroker() as broker:
        alive = {**broken, "GOODPART_KAFKA__BOOTSTRAP": broker.bootstrap}
        assert "create the topic" in goodpart("doctor", folder=plant, ok=False, environ=alive)
        create_topics(Kafka(bootstrap=broker.bootstrap), {"goodpart.frames": 1, "goodpart.decisions": 1})
        assert "live view is missing" in goodpart("doctor", folder=plant, environ=alive)
