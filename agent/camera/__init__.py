"""Publishes pictures as a camera would: CloudEvents headers, key = station, every frame acknowledged by the broker."""

from agent.camera.buffer import BufferedCamera, default_folder
from agent.camera.errors import CameraError, SourceLost
from agent.camera.pictures import Picture, pictures
from agent.camera.producer import LARGEST, Camera, Counts
from agent.camera.stream import SLOWEST, pace, stream

__all__ = [
    "LARGEST", "SLOWEST", "BufferedCamera", "Camera", "CameraError", "Counts", "Picture", "SourceLost",
    "default_folder", "pace", "pictures", "stream",
]  # fmt: skip
