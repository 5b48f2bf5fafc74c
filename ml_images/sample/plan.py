"""Which pictures the world has, which list names them under which key, and what their download must come to."""

from dataclasses import dataclass
from urllib.parse import quote

from ml_images.errors import InputError
from ml_images.sample.encodings import JPEG, Encoding, encoding_of
from ml_images.sample.faults import FAULTS, url_path
from ml_images.sample.hierarchy import CLASSES
from ml_images.sample.scenes import Scene, compose

OPEN_IMAGES = "train_urls_from_openimages.txt"
IMAGENET = "train_image_id_from_imagenet.txt"
URLS_AND_INDEX = "train_urls_and_index_from_imagenet.txt"
IM_LIST = "train_im_list.txt"
LISTS = (OPEN_IMAGES, IMAGENET, URLS_AND_INDEX, IM_LIST)

# Of every twenty pictures, roughly as in the published lists: most are URLs.
_DEALT = (OPEN_IMAGES,) * 10 + (IMAGENET,) * 4 + (URLS_AND_INDEX,) * 3 + (IM_LIST,) * 3

FEWEST_IMAGES = 64  # every encoding, every list and every class occurs from here on
MOST_IMAGES = 1_000_000
_FIRST_FAULT = MOST_IMAGES  # pictures behind faults have numbers of their own, whatever the number of images
_CLOSED_PORT = 1  # tcpmux: nothing has listened there for decades

# Files that are no usable picture, and their outcomes.
BROKEN = {
    "cut_short.jpg": "undecodable",
    "web_page.jpg": "not_an_image",
    "no_bytes.jpg": "empty",
    "one_pixel.jpg": "too_small",
}


@dataclass(frozen=True)
class Item:
    """One key of the lists: the picture behind it, where that is stored, and how its download ends."""

    index: int
    list_name: str
    key: str
    path: str  # of the file under pictures/
    encoding: Encoding
    outcome: str
    kind: str  # the encoding, the fault, or how the file is broken

    def scene(self, seed: int) -> Scene:
        return compose(seed, self.index, neutral=self.encoding.neutral)


def plan(seed: int, base_url: str, images: int) -> list[Item]:
    """All keys of a world with `images` good pictures, besides those behind faults and the broken files."""
    if not FEWEST_IMAGES <= images <= MOST_IMAGES:
        raise InputError(f"images must be from {FEWEST_IMAGES} (every class and format) to {MOST_IMAGES}, got {images}")
    items = [_good(seed, base_url, index) for index in range(images)]
    index = _FIRST_FAULT
    for kind, fault in FAULTS.items():
        for _ in range(fault.rows):
            path = f"ok/{kind}_{index - _FIRST_FAULT}_o.jpg"
            items.append(Item(index, OPEN_IMAGES, base_url + url_path(kind, path), path, JPEG, fault.outcome, kind))
            index += 1
    closed = f"http://127.0.0.1:{_CLOSED_PORT}/ok/closed_port_o.jpg"
    items.append(Item(index, OPEN_IMAGES, closed, "ok/closed_port_o.jpg", JPEG, "connect_error", "closed_port"))
    for path, outcome in BROKEN.items():
        index += 1
        items.append(Item(index, IM_LIST, path, path, JPEG, outcome, path.removesuffix(".jpg")))
    return items


def _good(seed: int, base_url: str, index: int) -> Item:
    list_name, encoding = _DEALT[index % len(_DEALT)], encoding_of(index)
    if list_name == IMAGENET:
        wnid = CLASSES[compose(seed, index, neutral=encoding.neutral).classes[0]].id
        path = key = f"{wnid}/{wnid}_{index}.JPEG"  # whatever the format: so does ImageNet
    elif list_name == IM_LIST:
        path = key = f"im_{index}{encoding.suffix}"
    else:
        # Every tenth name needs quoting in a URL.
        path = f"ok/{index:05d}_{'my photo' if index % 10 == 4 else seed}_o{encoding.suffix}"
        key = base_url + quote(path)
    return Item(index, list_name, key, path, encoding, "ok", encoding.name)
