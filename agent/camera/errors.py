"""What a camera cannot do."""


class CameraError(Exception):
    """Frames that cannot be published; the message says what to do."""


class FrameTooLarge(CameraError):
    """The broker will never take this one frame."""
