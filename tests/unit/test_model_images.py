"""From bytes to pixels; folders."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.images import (
    FolderError,
    Frame,
    LabelledImage,
    TooLarge,
    Undecodable,
    WrongSize,
    decode,
    decode_raw,
    pixels_sha256,
    read_folder,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 255, (48, 64, 3), np.uint8)
PICTURE: Frame = np.asarray(cv2.GaussianBlur(NOISE, (9, 9), 3), np.uint8)  # RGB


def encoded(ending: str, picture: np.ndarray = PICTURE) -> bytes:
    return cv2.imencode(ending, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".jpg", ".webp"])
def test_every_format_gives_rgb(ending: str) -> None:
    frame = decode(encoded(ending))
    assert frame.shape == PICTURE.shape
    assert np.abs(frame.astype(int) - PICTURE).mean() < 6
    if ending in (".png", ".bmp", ".tiff"):
        assert np.array_equal(frame, PICTURE)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_off_image_is_undecodable(ending: str, share: float) -> None:
    data = encoded(ending)
    with pytest.raises(Undecodable):
        decode(data[: int(len(data) * share)])


def test_a_grey_jpeg_gives_its_plane_three_times_as_opencv_does() -> None:
    data = cv2.imencode(".jpg", PICTURE[..., 0])[1].tobytes()
    wanted = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert wanted is not None
    assert np.array_equal(decode(data), wanted)
    with pytest.raises(Undecodable):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("big", [False, True])
def test_a_tiffs_picture_is_taken_as_it_is_stored(big: bool) -> None:
    picture = Image.fromarray(PICTURE)
    picture.putalpha(Image.fromarray(NOISE[..., 0]))
    file = io.BytesIO()
    picture.save(file, "TIFF", tiffinfo={274: 6}, big_tiff=big)  # to be turned, and multiplied by its alpha
    assert np.array_equal(decode(file.getvalue()), PICTURE)


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_what_follows_an_image_does_not_matter(ending: str) -> None:
    data = encoded(ending)
    assert np.array_equal(decode(data + bytes(70_000)), decode(data))


def test_a_thumbnails_end_is_not_the_images() -> None:
    data, thumbnail = encoded(".jpg", NOISE), encoded(".jpg", NOISE[::8, ::8])
    content = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail
    carried = data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]
    assert np.array_equal(decode(carried), decode(data))
    with pytest.raises(Undecodable, match="ends too early"):
        decode(carried[: -len(data) // 3])


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: encoded(".png")[:60] + tail))
def test_no_bytes_raise_anything_but_image_errors(data: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(data)


def test_a_small_file_with_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data += struct.pack(">I", 4) + b"IDAT" + b"1234" + b"IEND"
    with pytest.raises(TooLarge, match="60000 x 60000"):
        decode(data)
    with pytest.raises(TooLarge):
        decode(encoded(".png", np.zeros((1100, 1000, 3), np.uint8)), max_megapixels=1)


def test_raw_pixels_by_their_pfnc_names() -> None:
    height, width = PICTURE.shape[:2]
    assert np.array_equal(decode_raw(PICTURE.tobytes(), width, height, "RGB8"), PICTURE)
    assert np.array_equal(decode_raw(PICTURE[..., ::-1].tobytes(), width, height, "BGR8"), PICTURE)
    grey = PICTURE[..., 0]
    assert np.array_equal(decode_raw(grey.tobytes(), width, height, "Mono8"), np.repeat(grey[..., None], 3, 2))
    with pytest.raises(WrongSize):
        decode_raw(grey.tobytes()[1:], width, height, "Mono8")
    for sides in ((0, 0), (-2, -3)):
        with pytest.raises(WrongSize, match="at least 1 x 1"):
            decode_raw(bytes(sides[0] * sides[1]), *sides, "Mono8")
    with pytest.raises(WrongSize, match="at least 3 x 3"):
        decode_raw(bytes(4), 2, 2, "BayerRG8")
    with pytest.raises(Undecodable):
        decode_raw(grey.tobytes(), width, height, "Mono12p")


@pytest.mark.parametrize(("name", "first"), [("RG", 0), ("BG", 2), ("GR", 1), ("GB", 1)])
def test_bayer_patterns_are_named_by_their_first_pixels(name: str, first: int) -> None:
    colour = np.array([200, 100, 40], np.uint8)  # R, G, B everywhere
    second = {"RG": 1, "BG": 1, "GR": 0, "GB": 2}[name]
    pattern = np.empty((32, 32), np.uint8)
    pattern[0::2, 0::2], pattern[0::2, 1::2] = colour[first], colour[second]
    third = {"RG": 1, "BG": 1, "GR": 2, "GB": 0}[name]
    fourth = {"RG": 2, "BG": 0, "GR": 1, "GB": 1}[name]
    pattern[1::2, 0::2], pattern[1::2, 1::2] = colour[third], colour[fourth]
    frame = decode_raw(pattern.tobytes(), 32, 32, f"Bayer{name}8")
    assert np.array_equal(frame[8:-8, 8:-8], np.broadcast_to(colour, (16, 16, 3)))


def test_the_pixel_hash_knows_pictures_not_files() -> None:
    assert pixels_sha256(decode(encoded(".png"))) == pixels_sha256(decode(encoded(".bmp")))
    assert pixels_sha256(PICTURE) != pixels_sha256(PICTURE.reshape(64, 48, 3))


def test_a_folder_in_mvtec_layout(tmp_path: Path) -> None:
    for name in ("train/good/1.png", "test/good/2.png", "test/dent/3.png", "ground_truth/dent/3_mask.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(".png"))
    (tmp_path / "train/good/notes.txt").write_text("not an image")
    folder = read_folder(tmp_path)
    assert [image.path.name for image in folder.train_good] == ["1.png"]
    assert [(image.label, image.mask_path is not None) for image in folder.test] == [("dent", True), ("good", False)]


def test_a_plain_folder_of_good_and_defects(tmp_path: Path) -> None:
    for name in ("good/1.png", "bent/2.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(encoded(".png"))
    folder = read_folder(tmp_path)
    assert [image.label for image in folder.train_good + folder.test] == ["good", "bent"]


def test_folders_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="is empty"):
        read_folder(tmp_path)
    (tmp_path / "bad").mkdir()
    with pytest.raises(FolderError, match="no images in train/good or good"):
        read_folder(tmp_path)


def test_a_folder_says_how_large_its_images_and_masks_may_be(tmp_path: Path) -> None:
    large = encoded(".png", np.full((1100, 1000, 3), 255, np.uint8))
    for place in ("good/0.png", "dent/0.png", "ground_truth/dent/0.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(large)
    for limit, allowed in ((2, True), (1, False)):
        folder = read_folder(tmp_path, max_megapixels=limit)
        for read in (folder.train_good[0].frame, lambda image=folder.test[0]: image.mask((1100, 1000))):
            with nullcontext() if allowed else pytest.raises(FolderError, match=r"0\.png: .* 1 megapixels"):
                assert read() is not None


def test_a_folder_to_test_with_needs_no_good_images_to_train_on(tmp_path: Path) -> None:
    for name in ("test/good/2.png", "test/dent/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(".png"))
    assert [image.label for image in read_folder(tmp_path, trains=False).test] == ["dent", "good"]
    with pytest.raises(FolderError, match="no images in train/good"):
        read_folder(tmp_path)
    with pytest.raises(FolderError, match="no images in test/KIND"):
        read_folder(tmp_path / "test" / "dent", trains=False)


@pytest.mark.parametrize(
    ("values", "marked"), [((0, 255), 2), ((0, 1), 2), ((1, 3), 4), ((100, 255), 2), ((100, 127), 4)]
)
def test_a_mask_is_white_or_holds_labels(tmp_path: Path, values: tuple[int, int], marked: int) -> None:
    picture = np.zeros((4, 4), np.uint8)
    picture[0, :2], picture[3, 2:] = values
    (tmp_path / "mask.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    mask = LabelledImage(tmp_path / "1.png", "dent", tmp_path / "mask.png").mask((4, 4))
    assert mask is not None and mask.sum() == marked and mask[3, 3]


def test_masks_that_mark_nothing_or_belong_to_no_image_are_named(tmp_path: Path) -> None:
    for name in ("good/1.png", "dent/1.png", "dent/2.png", "ground_truth/dent/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(".png", np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(FolderError, match=r"1\.png: marks nothing on 1\.png, which is in dent"):
        read_folder(tmp_path).test[0].mask((4, 4))
    (tmp_path / "ground_truth" / "dent" / "2_gt.bmp").write_bytes(b"")
    with pytest.raises(FolderError, match=r"2_gt\.bmp belong to no image; the mask of 2\.png is 2_mask\.png or 2\.png"):
        read_folder(tmp_path)


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "broken.jpg").write_bytes(encoded(".jpg")[:80])
    image = read_folder(tmp_path).train_good[0]
    with pytest.raises(FolderError, match=r"broken\.jpg"):
        image.frame()
