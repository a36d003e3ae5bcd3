"""Images: bytes to pixels, folders of them, and the one way from a frame to model input and back. No torch."""

from model.images.decode import (
    Frame,
    ImageError,
    TooLarge,
    Undecodable,
    WrongSize,
    decode,
    decode_raw,
    pixels_sha256,
)
from model.images.folders import GOOD, SUFFIXES, FolderError, ImageFolder, LabelledImage, read_folder
from model.images.inputs import InputError, InputSpec, Map, Mask, Prepared, ignore_mask, inspected, prepare, to_frame

__all__ = [
    "GOOD",
    "SUFFIXES",
    "FolderError",
    "Frame",
    "ImageError",
    "ImageFolder",
    "InputError",
    "InputSpec",
    "LabelledImage",
    "Map",
    "Mask",
    "Prepared",
    "TooLarge",
    "Undecodable",
    "WrongSize",
    "decode",
    "decode_raw",
    "ignore_mask",
    "inspected",
    "pixels_sha256",
    "prepare",
    "read_folder",
    "to_frame",
]
