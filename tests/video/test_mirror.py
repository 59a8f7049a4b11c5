from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.video.transforms.mirror import mirror_labels

SOMETHING_NAMES = Path(__file__).parents[3] / "shared/data/annotations/something_something/labels.txt"


@pytest.mark.parametrize(
    ("name", "mirror"),
    [
        ("left", "right"),
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning the camera LEFT", "turning the camera right"),
        ("swipe_left", "swipe_right"),
        ("turnLeft", "turnRight"),
        ("SWIPE_LEFT", "SWIPE_RIGHT"),
        ("swipe-leftwards", "swipe-rightwards"),
        ("wave left-hand", "wave right-hand"),
        ("waveLeftHand", "waveRightHand"),
        ("lefthanded throw", "righthanded throw"),
        ("left2", "right2"),
        ("Turning hand clockwise", "Turning hand counterclockwise"),
        ("rotate clockwise", "rotate anticlockwise"),
        ("rotate_clockwise", "rotate_counter_clockwise"),
        ("rotate clockwise", "rotate anti-clockwise"),
        ("rotateClockwise", "rotateCounterClockwise"),
    ],
)
def test_a_class_and_its_mirror_swap(name: str, mirror: str) -> None:
    assert mirror_labels(["jump", name, mirror]) == [0, 2, 1]


@pytest.mark.parametrize(
    "name", ["turning upright", "copyright", "eating leftover food", "brightening", "Cleft", "clock", "wise", ""]
)
def test_words_that_merely_contain_a_side_name_none(name: str) -> None:
    assert mirror_labels([name, "wave"]) == [0, 1]


@pytest.mark.parametrize("name", ["left", "pulling it right out", "swipe_left", "spin clockwise", "left and right"])
def test_a_side_without_its_mirror_is_never_flipped(name: str) -> None:
    assert mirror_labels([name, "wave"]) == [None, 1]


def test_an_ambiguous_mirror_is_never_flipped() -> None:
    assert mirror_labels(["turnLeft", "turn_left", "turn right"]) == [None, None, None]


def test_other_alphabets_keep_their_words() -> None:
    assert mirror_labels(["ü left", "é left", "é right"]) == [None, 2, 1]


@given(
    st.lists(st.sampled_from(["left", "right", "a left", "a_right", "ALeft", "right to left", "left to right", "x"]))
)
def test_mirroring_twice_gives_the_class_back(labels: list[str]) -> None:
    mirrors = mirror_labels(labels)
    assert all(mirrors[mirror] == index for index, mirror in enumerate(mirrors) if mirror is not None)


@pytest.mark.skipif(not SOMETHING_NAMES.exists(), reason="the Something-Something names are not here")
def test_the_real_names_of_something_something() -> None:
    labels = SOMETHING_NAMES.read_text(encoding="utf-8").splitlines()
    mirrors = mirror_labels(labels)
    assert len(labels) == 174
    swapped = {labels[i]: labels[m] for i, m in enumerate(mirrors) if m is not None and m != i}
    pairs = [
        ("Pulling something from left to right", "Pulling something from right to left"),
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning the camera left while filming something", "Turning the camera right while filming something"),
    ]
    assert swapped == {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    never = [labels[i] for i, m in enumerate(mirrors) if m is None]
    assert never == ["Plugging something into something but pulling it right out as you remove your hand"]
