"""What a camera cannot do."""


class CameraError(Exception):
    """Frames that cannot be published; the message says what to do."""


class SourceLost(CameraError):
    """A live source ended by itself: the camera or the way to it is gone."""


class FrameTooLarge(CameraError):
    """The broker will never take this one frame."""
