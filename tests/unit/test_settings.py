"""Settings: the file, the environment, the errors."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from agent.settings import Settings, SettingsError, environment, load

CONFIG = Path(__file__).parents[2] / "config.toml"


def test_config_toml_holds_every_setting_with_its_default() -> None:
    assert tomllib.loads(CONFIG.read_text()).keys() == Settings.model_fields.keys()
    for section, values in tomllib.loads(CONFIG.read_text()).items():
        assert values.keys() == type(getattr(Settings(), section)).model_fields.keys()
    assert load(CONFIG, {}) == Settings()


def test_every_setting_has_a_one_line_comment() -> None:
    settings = [line for line in CONFIG.read_text().splitlines() if "=" in line and not line.startswith("#")]
    assert [line for line in settings if not re.search(r"\s# \S", line)] == []


def test_the_environment_overrides_the_file() -> None:
    loaded = load(CONFIG, {"GOODPART_KAFKA__BOOTSTRAP": "broker:1", "GOODPART_PIPELINE__BATCH_SIZE": "3", "HOME": "/"})
    assert (loaded.kafka.bootstrap, loaded.pipeline.batch_size) == ("broker:1", 3)


def test_environment_of_settings_gives_the_same_settings_back() -> None:
    environ = {
        "GOODPART_BLOBS__DIRECTORY": "/x", "GOODPART_CERTIFICATE__REVIEW_RATE": "0.02",
        "GOODPART_TRAINING__REGION": "0.1, 0,0.9,1",
        "GOODPART_TRAINING__MEMORY_SHARE": "0.25", "GOODPART_TRAINING__POSITIONAL": "true",
        "GOODPART_TRAINING__WEIGHTS": '{"resnet18": "/w, 1.pth"}',
    }  # fmt: skip
    settings = load(CONFIG, environ)
    assert settings.training.region == (0.1, 0.0, 0.9, 1.0)
    assert (settings.training.memory_share, settings.training.positional) == (0.25, True)
    assert settings.training.weights == {"resnet18": "/w, 1.pth"}
    assert load(None, environment(settings)) == settings


@pytest.mark.parametrize(
    ("text", "environ", "names"),
    [
        ("[kafka]\nbootstrp = 'x'", {}, ["kafka.bootstrp", "FILE", "bootstrap"]),
        ("[kafak]\nbootstrap = 'x'", {}, ["kafak", "FILE", "kafka"]),
        ("[certificate]\nreview_rate = 1.5", {}, ["certificate.review_rate", "FILE", "less than 1", "1.5"]),
        ("[kafka]\nstart_from = 'middle'", {}, ["kafka.start_from", "'earliest' or 'latest'", "middle"]),
        ("[plant]\ntimezone = 'Mars'", {}, ["plant.timezone", "Europe/Berlin"]),
        ("[plant]\nshifts = ['14:00', '06:00']", {}, ["plant.shifts", "ascending", "06:00,14:00,22:00"]),
        ("", {"GOODPART_PLANT__SHIFTS": "06:05"}, ["GOODPART_PLANT__SHIFTS", "whole quarters"]),
        ("[retrain]\ncron = 'often'", {}, ["retrain.cron", "five cron fields"]),
        ("[training]\nweights = { resnet18 = 1 }", {}, ["training.weights", "by teacher", "FILE"]),
        ("", {"GOODPART_TRAINING__WEIGHTS": "{resnet18"}, ["GOODPART_TRAINING__WEIGHTS", "by teacher"]),
        ("kafka = 3", {}, ["kafka", "FILE"]),
        ("kafka = 3", {"GOODPART_KAFKA__BOOTSTRAP": "x"}, ["kafka", "[kafka]"]),
        (
            "[database]\nurl = 'postgresql://u:pass-word@h/d'",
            {},
            ["database.url", "password", "GOODPART_DATABASE__URL"],
        ),
        ("[kafka]\ngroup_instance_id = 'a'", {}, ["kafka.group_instance_id", "GOODPART_KAFKA__GROUP_INSTANCE_ID"]),
        ("", {"GOODPART_KAFKA__GROUP_INSTANCE_ID": "a b"}, ["kafka.group_instance_id", "a b"]),
        (
            "[alerts]\nwebhook = 'https://hooks.example/pass-word'",
            {},
            ["alerts.webhook", "never stand in a file", "GOODPART_ALERTS__WEBHOOK"],
        ),
        (
            "[kafka]\npassword = 'pass-word'",
            {},
            ["kafka.password", "never stand in a file", "GOODPART_KAFKA__PASSWORD"],
        ),
        (
            "[oidc]\nclient_secret = 'pass-word'",
            {},
            ["oidc.client_secret", "never stand in a file", "GOODPART_OIDC__CLIENT_SECRET"],
        ),
        ("", {"GOODPART_OIDC__ISSUER": "http://id.example"}, ["oidc.issuer", "https://NAME"]),
        ("[alerts]\ndisk_free_gb = -1", {}, ["alerts.disk_free_gb", "FILE", "greater than or equal to 0"]),
        ("not toml", {}, ["FILE", "TOML"]),
        ("[training]\nheight = 100", {}, ["training.height", "multiple of 32", "100"]),
        ("[training]\nregion = [0.5, 0, 0.4, 1]", {}, ["training.region", "0.1,0,0.9,1"]),
        ("", {"GOODPART_TRAINING__REGION": "0,0,1"}, ["training.region", "GOODPART_TRAINING__REGION", "0,0,1"]),
        ("[training]\noverlap = 0.6", {}, ["training.overlap", "0.5", "0.6"]),
        ("[training]\nfit = 'crop'", {}, ["training.fit", "'stretch' or 'letterbox'"]),
        ("[training]\nmemory_share = 2", {}, ["training.memory_share", "'auto'", "less than or equal to 1"]),
        ("[scoring]\nprecision = 'int4'", {}, ["scoring.precision", "'int8'"]),
        ("", {"GOODPART_KAFKA__X": "1"}, ["kafka.x", "GOODPART_KAFKA__X", "bootstrap"]),
        ("", {"GOODPART_NO__X": "1"}, ["no", "GOODPART_NO__X"]),
        (
            "",
            {"GOODPART_PIPELINE__BATCH_SIZE": "many"},
            ["pipeline.batch_size", "GOODPART_PIPELINE__BATCH_SIZE", "many"],
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_place_and_what_is_allowed(
    tmp_path: Path, text: str, environ: dict[str, str], names: list[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    for name in names:
        assert name.replace("FILE", str(path)) in str(caught.value)
    assert "pass-word" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: there is no such file"):
        load(tmp_path / "nowhere.toml", {})


def test_the_decision_hash_changes_with_what_decides_and_with_nothing_else() -> None:
    def digest(**environ: str) -> str:
        return load(None, environ).decision_hash

    assert digest() == digest(GOODPART_KAFKA__BOOTSTRAP="other:9092")
    assert digest() != digest(GOODPART_CERTIFICATE__REVIEW_RATE="0.02")
    assert digest() != digest(GOODPART_SCORING__PRECISION="fp32")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/pass-word",
        "ftp://hooks.example/pass-word",
        "https://me:pass-word@hooks.example/x",
        "https://pass-word@hooks.example/x",
        "https:///pass-word",
        "https://hooks.example:port/pass-word",
        "https://hooks.example/pass-word#x",
        "https://hooks.example/pass-word\n",
        "https://hooks.example/pass-w\u00f6rd/pass-word",
        "http://127.0.0.1.example/pass-word",
        "https://[pass-word/",
        "pass-word",
    ],
)
def test_a_webhook_that_cannot_be_is_named_and_never_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=r"alerts.webhook.*GOODPART_ALERTS__WEBHOOK.*https://HOST") as caught:
        load(None, {"GOODPART_ALERTS__WEBHOOK": url})
    assert "pass-" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "https://hooks.example:8443/a/b?token=c", "http://127.0.0.1:9/a", "http://localhost/", "http://[::1]:9/a"],
)
def test_a_webhook_is_elsewhere_by_tls_or_on_this_host(url: str) -> None:
    loaded = load(None, {"GOODPART_ALERTS__WEBHOOK": url})
    assert loaded.alerts.webhook == url
    assert not url or url not in repr(loaded)
