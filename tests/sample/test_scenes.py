from collections import Counter

from ml_images.sample.hierarchy import CLASSES, INDEX, closed_max
from ml_images.sample.scenes import Scene, Thing, compose


def test_the_classes_of_a_scene_are_the_most_specific_names() -> None:
    scene = Scene((Thing("circle", "yellow"), Thing("ring", "blue")), "night", "dots")
    assert [CLASSES[klass].names[0] for klass in scene.classes] == ["sun", "ring", "blue", "starry sky"]


def test_every_class_is_shown_often_enough_to_be_learned() -> None:
    shown = Counter(klass for i in range(480) for klass in closed_max((c, 1.0) for c in compose(1, i).classes))
    assert min(shown[klass] for klass in range(len(CLASSES))) >= 30


def test_every_main_thing_comes_once_in_sixteen_pictures() -> None:
    for block in range(4):
        mains = [compose(3, 16 * block + i).things[0] for i in range(16)]
        assert sorted(Counter(thing.colour for thing in mains).values()) == [2] * 8


def test_two_things_never_share_a_colour_and_white_is_shown_on_dark() -> None:
    scenes = [compose(5, i) for i in range(300)]
    assert 50 < sum(len(scene.things) == 2 for scene in scenes) < 110
    for scene in scenes:
        colours = [thing.colour for thing in scene.things]
        assert len(set(colours)) == len(colours)
        assert scene.light == "night" or "white" not in colours


def test_a_neutral_scene_has_nothing_coloured() -> None:
    neutral = {INDEX["white"], INDEX["grey"]}
    for i in range(20):
        labels = closed_max((klass, 1.0) for klass in compose(1, i, neutral=True).classes)
        assert neutral & set(labels)
        assert INDEX["warm"] not in labels
        assert INDEX["cool"] not in labels
