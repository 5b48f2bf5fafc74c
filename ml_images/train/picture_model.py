"""Pictures as bytes in, logits or features out, in batches: the one way from a picture to a network for all that use a
trained one, with the crops and numbers that training evaluates with."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml_images.images.config import ImageConfig
from ml_images.images.decode import ImageError
from ml_images.images.resize import shrink
from ml_images.images.sniff import sniff
from ml_images.train.decode import BadImage, decode_crop
from ml_images.train.heads import head_of
from ml_images.train.trained import Trained
from ml_images.train.transforms import normalise
from ml_images.train.views import choose_views, mean_prediction

OK, UNDECODABLE = "ok", "undecodable"  # of ml_images.outcomes
# For what is no JPEG: pictures of the usual size, almost without loss.
_AS_JPEG = ImageConfig(short_side=512, quality=95, min_side=1)
_AS_IT_IS = ImageConfig(short_side="original", min_side=1)


class Seen(NamedTuple):
    """outcomes: one name of ml_images.outcomes a picture; values: float32 (those that are ok, ...), in their order, on
    the CPU; details: what the decoder says about each of the others, by its place."""

    outcomes: list[str]
    values: Tensor
    details: dict[int, str]


class PictureModel:
    """A trained network on `device`; `threads` decode pictures. To be closed.

    verify: read all of each picture first, for those that did not come through a table of ours: half of one must not be
    taken for a whole.
    """

    def __init__(
        self, trained: Trained, device: torch.device, threads: int = 1, crops: int = 1, verify: bool = False
    ) -> None:
        self._trained, self._device, self._verify = trained, device, verify
        self._model = trained.model.to(device)
        self._views = choose_views(trained.preprocessing, crops)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def logits(self, pictures: Sequence[bytes]) -> Seen:
        """Values are the logits (pictures, classes); of several views those of the mean probability."""
        outcomes, views, details = self._decode(pictures)
        with torch.no_grad():
            told = [self._forward(view) for view in views]
            return Seen(outcomes, mean_prediction(told, self._trained.activation), details)

    def features(self, pictures: Sequence[bytes]) -> Seen:
        """Values are what the head is given, (pictures, width): for a ResNet the means of its last maps, 2048."""
        outcomes, views, details = self._decode(pictures)
        with torch.no_grad(), _inputs_of_head(self._model) as taken:
            self._forward(views[0])
            (found,) = taken
            values = found.float() if found.ndim == 2 else found.float().flatten(2).mean(dim=2)
            return Seen(outcomes, values.cpu(), details)

    def close(self) -> None:
        self._pool.shutdown()

    def _forward(self, images: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2)
        with self._trained.autocast(self._device):
            return self._model(normalise(pixels, self._trained.preprocessing)).float().cpu()

    def _decode(self, pictures: Sequence[bytes]) -> tuple[list[str], list[NDArray[np.uint8]], dict[int, str]]:
        """(outcomes, for each view uint8 (those that are ok, side, side, 3), details)."""
        side = self._trained.image_size
        slots = np.empty((len(self._views), len(pictures), side, side, 3), np.uint8)
        told = list(self._pool.map(self._decode_one, pictures, slots.swapaxes(0, 1)))
        outcomes = [outcome for outcome, _ in told]
        details = {place: detail for place, (outcome, detail) in enumerate(told) if outcome != OK}
        if details:
            slots = slots[:, [outcome == OK for outcome in outcomes]]
        return outcomes, list(slots), details

    def _decode_one(self, data: bytes, slots: NDArray[np.uint8]) -> tuple[str, str]:
        try:
            if self._verify:
                shrink(data, _AS_IT_IS)
            jpeg = as_jpeg(data)
            for choose, slot in zip(self._views, slots, strict=True):
                decode_crop(jpeg, choose, slot)
        except BadImage as error:
            return UNDECODABLE, str(error)
        except ImageError as error:
            return error.outcome, error.detail
        return OK, ""


def as_jpeg(data: bytes) -> bytes:
    """A JPEG as it is, a picture of another format as a JPEG. Raises ImageError for what is no picture."""
    return data if sniff(data) == "JPEG" else shrink(data, _AS_JPEG).data


@contextmanager
def _inputs_of_head(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within: the list takes up what the head of `model` is given."""
    taken: list[Tensor] = []
    _, head = head_of(model)
    hook = head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    try:
        yield taken
    finally:
        hook.remove()
