"""Makers: objects of frozen dataclasses, made in less time."""

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from moxlib._making import maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What is made here."""

    to: str
    pages: int = 1
    marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.pages < 1:
            raise ValueError("a letter has a page")


make = maker(Letter)


def test_what_is_made_is_what_the_class_makes() -> None:
    made, usual = make(to="a", pages=2), Letter(to="a", pages=2)
    assert type(made) is Letter
    assert made == usual
    assert repr(made) == repr(usual)
    assert replace(made, pages=3) == Letter(to="a", pages=3)
    assert pickle.loads(pickle.dumps(made)) == usual


def test_it_is_frozen() -> None:
    letter = make(to="a")
    with pytest.raises(FrozenInstanceError):
        letter.pages = 2  # type: ignore[misc]


def test_defaults_are_the_classes_own_and_not_shared() -> None:
    first, second = make(to="a"), make(to="b")
    assert (first.pages, first.marks) == (1, [])
    assert first.marks is not second.marks


def test_what_the_class_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="has a page"):
        make(to="a", pages=0)
    with pytest.raises(TypeError):
        make(pages=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        make("a")  # type: ignore[call-arg]
