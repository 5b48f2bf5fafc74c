"""The published shape of ML-Images: how many images a class has, how many tags an image has, where images come from.

Class counts. The authors gave no numbers, only a figure: `git_images/fig_num_images_per_class_wanfenlei_1012.eps` in
Tencent/tencent-ml-images at commit 3eff894, whose curve holds log2 of the number of images of each class with six
decimals. 10,824 of the 11,166 classes have images, 154,580,231 tags in all. _KNOTS are 147 points of that curve (rank,
count); between them log(count) is taken as linear in log(rank). Measured against the counts that the curve gives:
at most 1.3 % off for classes with 100 images or more and 3 images for others, 0.5 % on average, 0.01 % in the total.

Tags per image: read off the histogram in the README of the same repository (+-500 images), which ends below 10,000
images for each number from 29 on and at about nothing beyond 40; there a geometric tail stands in. Its mean, 8.73, is
that of the class counts over train and val images (154,580,231 / 17,698,491).
"""

import numpy as np
import numpy.typing as npt

from ml_images.errors import InputError

# Rows of the published training lists.
IMAGENET_ROWS = 10_706_941
OPEN_IMAGES_ROWS = 6_902_811

CLASSES = 11_166
MOST_TAGS = 40
_MOST_DIGITS = 15  # whole numbers that a float64 holds
_TAIL_RATIO = 0.8  # of neighbouring bars, as from 27 to 28

# In thousands of images, from 1 tag on to the last readable bar, 28 tags.
_THOUSANDS: tuple[int, ...] = (3, 1343, 242, 874, 869, 1646, 2218, 2401, 1744, 1427, 1231, 984, 775, 497)
_THOUSANDS += (414, 227, 158, 113, 97, 81, 63, 53, 42, 34, 26, 22, 18, 14)

# fmt: off
_KNOTS = (
    (1, 13217523), (2, 12640109), (3, 7148057), (4, 7082163), (5, 6300092), (6, 4074686), (7, 2709859), (8, 2433462),
    (9, 2320841), (10, 2295964), (11, 2116368), (12, 1901071), (13, 1864674), (14, 1685897), (15, 1629471),
    (16, 1399760), (17, 1271414), (21, 1094659), (22, 1032756), (23, 1030163), (24, 979919), (25, 969538),
    (27, 920266), (29, 826731), (30, 675366), (31, 661163), (32, 528727), (35, 494081), (36, 488948), (37, 454648),
    (38, 453257), (39, 437916), (41, 436485), (45, 402513), (46, 402368), (48, 383665), (49, 365334), (55, 346449),
    (56, 321295), (64, 309466), (68, 290882), (84, 266673), (85, 247291), (94, 226007), (99, 217312), (103, 207209),
    (104, 199665), (105, 198606), (107, 186832), (113, 180402), (118, 166265), (138, 148387), (140, 148083),
    (143, 142141), (148, 137171), (150, 133977), (156, 126501), (160, 124861), (161, 121208), (162, 121038),
    (163, 116366), (167, 114767), (168, 110880), (183, 102582), (186, 102176), (191, 97877), (193, 97242),
    (196, 93081), (202, 89192), (203, 86571), (209, 84935), (212, 80280), (225, 74119), (228, 73376), (231, 68927),
    (245, 64567), (246, 61788), (263, 56194), (264, 54681), (279, 52242), (295, 48729), (304, 45603), (332, 39652),
    (364, 35557), (379, 32797), (398, 30140), (400, 29228), (453, 24889), (500, 20430), (607, 15739), (646, 14776),
    (660, 14299), (739, 12426), (784, 11123), (976, 8080), (1023, 7433), (1148, 6443), (1228, 5676), (1325, 5040),
    (1460, 4533), (1492, 4301), (1644, 3805), (1906, 3215), (2019, 2840), (2126, 2443), (2188, 2183), (2347, 1838),
    (2588, 1617), (3059, 1424), (4006, 1290), (6097, 1155), (7265, 1048), (8336, 933), (9205, 819), (9498, 765),
    (9708, 668), (9898, 558), (10004, 493), (10060, 431), (10072, 416), (10128, 380), (10193, 329), (10212, 312),
    (10221, 308), (10235, 288), (10251, 276), (10261, 262), (10277, 249), (10304, 232), (10309, 225), (10328, 206),
    (10347, 198), (10377, 180), (10389, 169), (10398, 166), (10400, 162), (10426, 146), (10441, 142), (10451, 133),
    (10463, 124), (10486, 115), (10492, 110), (10496, 109), (10503, 102), (10603, 57), (10695, 21), (10824, 1),
)
# fmt: on


def tags_per_image() -> npt.NDArray[np.float64]:
    """Share of the images that have t tags, for t = 0..MOST_TAGS."""
    bars = np.zeros(MOST_TAGS + 1)
    shown = len(_THOUSANDS)
    bars[1 : shown + 1] = _THOUSANDS
    bars[shown + 1 :] = bars[shown] * _TAIL_RATIO ** np.arange(1, MOST_TAGS - shown + 1)
    return bars / bars.sum()


def published_counts() -> npt.NDArray[np.float64]:
    """Images of each of the 11,166 classes, most first; 0 for the 342 that have none. (CLASSES,)"""
    ranks, counts = np.array(_KNOTS, np.float64).T
    all_ranks = np.arange(1, CLASSES + 1)
    curve = np.exp(np.interp(np.log(all_ranks), np.log(ranks), np.log(counts)))
    return np.where(all_ranks <= ranks[-1], np.rint(curve), 0.0)


def resampled(counts: npt.NDArray[np.float64], num_classes: int) -> npt.NDArray[np.float64]:
    """The same distribution over `num_classes` classes: each takes the count at its relative rank.

    counts: descending. (num_classes,)"""
    at = np.round((np.arange(num_classes) + 0.5) / num_classes * len(counts) - 0.5, 6)  # whole where nothing changes
    return np.interp(at, np.arange(len(counts)), counts)


def parse_counts(data: bytes, source: str, num_classes: int) -> npt.NDArray[np.float64]:
    """Images of each of `num_classes` classes from a file with one integer a line, descending; 0 for those left over.

    Raises InputError (`source:line: ...`) for anything else, for more counts than classes, and where all are 0."""
    lines = data.decode("ascii", "replace").split()
    if len(lines) > num_classes:
        raise InputError(f"{source}: {len(lines)} counts, but the vocabulary has {num_classes} classes")
    counts = np.zeros(num_classes)
    for row, text in enumerate(lines):
        if not text.isdigit() or len(text) > _MOST_DIGITS:
            raise InputError(f"{source}:{row + 1}: expected the images of a class, a whole number, got {text[:40]!r}")
        counts[row] = int(text)
        if row and counts[row] > counts[row - 1]:
            raise InputError(f"{source}:{row + 1}: counts must descend, got {text} after {lines[row - 1]}")
    if not counts.any():
        raise InputError(f"{source}: no class has an image, expected one count a line, most first")
    return counts
