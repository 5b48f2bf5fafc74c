"""What each picture shows, decided from (seed, index) alone: its things, its light, its pattern."""

from dataclasses import dataclass

import numpy as np

from ml_images.sample.hierarchy import INDEX, NAMED_SCENES, NAMED_THINGS

SHAPES = ("circle", "ring", "square", "cross", "triangle", "star")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "grey")
GROUNDS = tuple((light, pattern) for light in ("day", "night") for pattern in ("plain", "stripes", "dots"))

# Sixteen kinds of things, dealt like a deck: the twelve named ones, and one unnamed thing of each colour that has only
# one named thing. So every colour is on two cards, every named thing the main one in a sixteenth of the pictures.
_NAMED = tuple(NAMED_THINGS)
_FREE_COLOURS = tuple(colour for colour in COLOURS if sum(named == colour for _, named in _NAMED) == 1)
_KINDS = len(_NAMED) + len(_FREE_COLOURS)

_TWO_THINGS = 0.3  # share of pictures with a second thing of another colour


@dataclass(frozen=True)
class Thing:
    shape: str
    colour: str

    @property
    def classes(self) -> tuple[int, ...]:
        """The most specific classes that say it: its name where it has one, else its shape and its colour."""
        name = NAMED_THINGS.get((self.shape, self.colour))
        return (INDEX[name],) if name else (INDEX[self.shape], INDEX[self.colour])


@dataclass(frozen=True)
class Scene:
    things: tuple[Thing, ...]  # the main one first
    light: str
    pattern: str

    @property
    def ground_classes(self) -> tuple[int, ...]:
        """The most specific classes of the backdrop."""
        name = NAMED_SCENES.get((self.light, self.pattern))
        return (INDEX[name],) if name else (INDEX[self.light], INDEX[self.pattern])

    @property
    def classes(self) -> tuple[int, ...]:
        """Everything that a careful annotator would say, most specific classes only."""
        things = tuple(klass for thing in self.things for klass in thing.classes)
        return tuple(dict.fromkeys(things + self.ground_classes))


def compose(seed: int, index: int, neutral: bool = False) -> Scene:
    """The scene of picture `index`; `neutral` asks for one that keeps all its labels when saved without colour."""
    rng = np.random.default_rng([seed, index, 1])
    main = _deal(rng, _card(seed, index, _KINDS))
    if neutral:
        main = Thing(*[kind for kind in _NAMED if kind[1] in ("white", "grey")][index % 3])
    things = [main]
    if not neutral and rng.random() < _TWO_THINGS:
        other = _deal(rng, int(rng.integers(_KINDS)))
        if other.colour != main.colour:
            things.append(other)
    light, pattern = GROUNDS[_card(seed, index, len(GROUNDS))]
    if any(thing.colour == "white" for thing in things):
        light = "night"  # white on a bright ground would not show
    return Scene(tuple(things), light, pattern)


def _card(seed: int, index: int, cards: int) -> int:
    """The card dealt to `index` when every block of `cards` pictures gets each card once, in an order of its own."""
    block, place = divmod(index, cards)
    return int(np.random.default_rng([seed, block, cards, 2]).permutation(cards)[place])


def _deal(rng: np.random.Generator, kind: int) -> Thing:
    if kind < len(_NAMED):
        return Thing(*_NAMED[kind])
    colour = _FREE_COLOURS[kind - len(_NAMED)]
    shapes = [shape for shape in SHAPES if (shape, colour) not in NAMED_THINGS]
    return Thing(shapes[int(rng.integers(len(shapes)))], colour)
