"""Pictures of calibration parts as files, for people without the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.cli.common import CommandError
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.calibration import Calibrator


def write(folder: Path, top: Sequence[Calibrator], blobs: BlobStore, *, max_megapixels: int) -> None:
    """Writes `01-sample-17.png` and so on, the highest score first: the image, and beside it the same with its heatmap.

    Only the highest scores of a version have a heatmap; what has none is shown without.

    Raises:
        CommandError: the folder cannot be written, or a picture is gone.
    """
    import numpy as np

    from agent.pipeline import pictures
    from model import images

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, one in enumerate(top, 1):
            shown = [name for name in (one.preview_sha256, one.overlay_sha256) if name] or [one.blob_sha256]
            found = [images.decode(blobs.get(name), max_megapixels=max_megapixels) for name in shown]
            path = folder / f"{place:02}-sample-{one.sample_id}.png"
            path.write_bytes(pictures.png(np.hstack(found)))
    except OSError as error:
        raise CommandError(f"--out {folder}: {error.strerror}") from None
    except (images.ImageError, BlobMissing, BlobCorrupt) as error:
        raise CommandError(f"the picture of sample {one.sample_id} cannot be shown: {error}") from None
