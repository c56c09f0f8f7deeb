"""Declared settings: read as they are meant, and refused in one sentence that names what is wrong."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import ConfigDict, Field, field_validator

from causalmix.core.errors import InputError, refused
from causalmix.core.settings import Settings, validated


class Engine(Settings):
    power: float = 1.0


class Car(Settings):
    wheels: Annotated[int, Field(ge=1)] = 4
    colour: Literal["red", "blue"] = "red"
    engine: Engine = Engine()
    spare: list[Engine] = []
    owner: str

    @field_validator("owner")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name:
            raise InputError("Expected an owner with a name, found none; name one.")
        return name


@dataclass
class Ticket:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    price: int
    seat: str = ""


def test_settings_are_read_with_their_defaults():
    car = validated(Car, {"owner": "ada", "engine": {"power": 2.5}}, "a car")
    assert (car.wheels, car.engine.power, car.owner) == (4, 2.5, "ada")
    assert validated(Ticket, {"price": 3}, "a ticket") == Ticket(3)


@pytest.mark.parametrize(
    "model, given, sentence",
    [
        (Car, {"weels": 3}, "Expected a setting of a car among wheels, .*found 'weels'; did you mean wheels?"),
        (Car, {}, "Expected owner among the settings of a car, found none; give it."),
        (Car, {"owner": "", "wheels": 3}, "^Expected an owner with a name, found none; name one.$"),
        (Car, {"owner": "a", "wheels": 0}, "Expected wheels of a car to be greater than or equal to 1, found 0; "),
        (Car, {"owner": "a", "wheels": "4"}, "Expected wheels of a car to be a valid integer, found '4'; correct it."),
        (Car, {"owner": "a", "wheels": True}, "to be a valid integer, found True"),
        (Car, {"owner": "a", "colour": "pink"}, "Expected colour of a car to be 'red' or 'blue', found 'pink'; "),
        (Car, {"owner": "a", "engine": {"pover": 1}}, "setting of engine of a car among power, found 'pover'.*power"),
        (Car, {"owner": "a", "spare": [{"pover": 1}]}, "setting of spare.0 of a car among power, found 'pover'"),
        (Car, ["wheels"], r"Expected a car as names with values, found \['wheels'\]; correct it."),
        (Ticket, {"price": 1, "seet": "a"}, "setting of a ticket among price, seat, found 'seet'; did you mean seat?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_sentence(model, given, sentence):
    with pytest.raises(InputError, match=sentence) as told:
        validated(model, given, f"a {model.__name__.lower()}")
    assert "\n" not in str(told.value)


def test_why_something_cannot_be_had_is_told_once():
    """What a library raised, or met below, in one line; a sentence of our own stays as it is, another error too."""
    told = "Expected rows in a.csv, found KeyError: 'a'; correct it."
    wrapped = ValueError("no table")
    wrapped.__cause__ = KeyError("a")
    for reason in (KeyError("a"), wrapped, InputError(told)):
        with pytest.raises(InputError) as error, refused("rows in a.csv", "correct it"):
            raise reason
        assert str(error.value) == told
    with pytest.raises(ZeroDivisionError), refused("rows", "correct it", OSError):
        print(1 / 0)
