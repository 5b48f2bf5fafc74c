import pytest
from hierarchies import mistake_in

from ml_images.hierarchy.names import parse_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0 apple\n1 aquarium_fish\n", {"0": "apple", "1": "aquarium_fish"}),
        ("1 Foo, bar\n\n2  big  cat \n", {"1": "Foo, bar", "2": "big  cat"}),
        ("n1\tsalt lick, x\r\nn2\ta\tb\n", {"n1": "salt lick, x", "n2": "a\tb"}),
        ("\ufeffLabelName,DisplayName\n/m/0,'Nduja\n", {"/m/0": "'Nduja"}),
        ('/m/0,Sprenger\'s tulip\n/m/1,"Ducks, geese"\n', {"/m/0": "Sprenger's tulip", "/m/1": "Ducks, geese"}),
        ('/m/02wvth,"Fiat 500 ""topolino"""\n', {"/m/02wvth": 'Fiat 500 "topolino"'}),
        ("a b\na b\n", {"a": "b"}),
        ("LabelName,DisplayName\n", {}),
        ("0,a\nLabelName,DisplayName\n", {"0": "a", "LabelName": "DisplayName"}),  # a header is the first line only
    ],
)
def test_an_id_and_a_name_a_line(text, names):
    assert parse_names(text.encode(), "n") == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" \n", "h.txt:1: no names"),
        ("0 apple\n1\n", "h.txt:2: expected an id and a name with a space between them, got '1'"),
        ("apple\n", "h.txt:1: expected an id and a name with a space"),
        ("0\tapple\n1 pear\n", "h.txt:2: expected an id and a name with a tab"),
        ("0,apple\n1 pear\n", "h.txt:2: expected an id and a name with a comma"),
        ("0,Ducks, geese\n", "h.txt:1: expected an id and a name with a comma (a name that holds one is quoted)"),
        ("0,\n", "h.txt:1: expected an id and a name"),
        ("0,a\n,b\n", "h.txt:2: expected an id and a name"),
        ('0,"a\n1,b"\n', "h.txt:1: not CSV: "),
        ("0,a\rb\n", "h.txt:1: not CSV: "),
        ("0,a\n1,a\n0,b\n", "h.txt:3: '0' has two names, 'a' and 'b'"),
        (b"0 a\n1 \xff\n", "h.txt:2: not UTF-8"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_line(text, expected):
    assert mistake_in(parse_names, text).startswith(expected)


@pytest.mark.real_data
def test_published_names(shared_data):
    found = {
        name: parse_names((shared_data / name).read_bytes(), name)
        for name in [
            "hierarchies/cifar.class_names.txt",
            "hierarchies/cub_balanced.classes.txt",
            "openimages/v3_2017_11/classes/class-descriptions.csv",
            "openimages/v7/oidv7-class-descriptions.csv",
        ]
    }
    cifar, cub, v3, v7 = found.values()
    assert list(cifar) == list(map(str, range(163)))
    assert (len(cub), cub["2"], cub["421"]) == (421, "Phoebastria immutabilis", "Columbaves")
    assert v3["/m/0100nhbf"] == v7["/m/0100nhbf"] == "Sprenger's tulip"
    assert v7["/m/01wdp"] == "Cucumber, gourd, and melon family"
    assert "LabelName" not in v7
