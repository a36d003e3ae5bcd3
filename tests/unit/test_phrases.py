"""What the agent says can be said in the plant's language: made of literal templates, kept with what fills them."""

from __future__ import annotations

import ast
import json
import pickle
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from string import Formatter

import pytest

from agent.phrases import Phrase, Worded, made_of, remade, together, word
from agent.service import PermissionDenied
from agent.store.errors import Conflict
from dashboard import words
from tests.words_template import AGENT, PHRASES, parsed, refusals

SOURCES = [path for path in sorted(AGENT.rglob("*.py")) if path.name != "phrases.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(AGENT).as_posix())
def test_whatever_people_read_of_the_agent_is_made_of_a_literal_template(path: Path) -> None:
    assert list(unreachable(parsed(path))) == []


def unreachable(tree: ast.Module) -> Iterator[str]:
    """Calls whose text no catalogue can have, or is not given just what its placeholders name."""
    constants = {
        target.id
        for one in tree.body
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call) and _name(one.value) == "Phrase"
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    for call in (one for one in ast.walk(tree) if isinstance(one, ast.Call)):
        if _name(call) == "raised" and isinstance(call.args[-1], ast.JoinedStr | ast.Constant):
            yield ast.unparse(call)  # an alert's words
        if _name(call) not in PHRASES | refusals():
            continue
        match call.args[:1]:
            case [ast.Constant(value=str(template))]:
                given = {one.arg for one in call.keywords}
                wanted = {"one", "other"} if _name(call) == "together" else given
                if None not in given and _fields(template) != wanted:
                    yield ast.unparse(call)
            case [ast.Name(id=name)] if name in constants:
                pass
            case _:
                yield ast.unparse(call)


def _name(call: ast.Call) -> str:
    """What is called, wherever it was imported from."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _fields(template: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ('raise Conflict(f"item {n} is closed")', True),
        ('raise errors.Conflict("item " + n)', True),
        ("raise Invalid(words)", True),
        ('raise NotSignedIn("too many: {n}", m=1)', True),
        ('Phrase("{n} parts")', True),
        ('together("{one} {n}", found)', True),
        ("Phrase(template, n=1)", True),
        ('raise Conflict("item {n} is closed", n=n)', False),
        ('WRONG = Phrase("no")\nraise NotSignedIn(WRONG)', False),
        ('together("{one}; {other}", found)', False),
        ('raise Busy(f"{n}")', False),  # the command line's
        ('alarms.raised("disk", f"disk:{host}", f"{host} is full", free=0)', True),
        ('alarms.raised("disk", f"disk:{host}", words, free=0)', False),
    ],
)
def test_what_no_catalogue_can_have_is_found(source: str, wrong: bool) -> None:
    assert bool(list(unreachable(ast.parse(source)))) == wrong


def test_a_phrase_is_its_english_everywhere() -> None:
    phrase = Phrase("{n:,} parts of {product}", n=1234, product="flange")
    assert (phrase, str(phrase), f"{phrase}!") == ("1,234 parts of flange",) * 2 + ("1,234 parts of flange!",)
    assert type(str(phrase)) is str
    for other in (pickle.loads(pickle.dumps(phrase)), deepcopy(phrase)):
        assert (other, other.template, other.values) == (phrase, phrase.template, phrase.values)
    error = Conflict("{name} is retired already", name="flange")
    assert (str(error), error.args, error.phrase.values) == ("flange is retired already",) * 1 + (
        ("flange is retired already",),
        {"name": "flange"},
    )
    assert pickle.loads(pickle.dumps(error)).phrase.template == "{name} is retired already"
    assert Worded(phrase).phrase is phrase
    assert together("{one} or {other}", map(word, ("open", "rolled_back", "done"))) == "open or rolled back or done"
    assert (together("{one}", []), together("{one}", ["a"])) == ("", "a")


@pytest.mark.parametrize("name", ["{0}", "{name}", "{name.__class__}", "{", "}{", "{{}}", "%s"])
def test_what_people_write_is_never_a_template(name: str, spoken: None) -> None:
    error = PermissionDenied("{name} is disabled", name=name)
    assert str(error) == f"{name} is disabled"
    assert words.retold(error.phrase) == f"⟦{name} is disabled⟧"
    assert words.retold(name) == name, "a text of theirs is said as it stands"
    nested = Phrase("{product}: {lapse}", product=name, lapse=Phrase("it is over"))
    assert words.retold(nested) == f"⟦{name}: ⟦it is over⟧⟧"
    assert words.retold(remade(str(nested), made_of(nested))) == words.retold(nested)
    assert str(Conflict(name)) == name, "without values nothing is filled in"


def test_a_phrase_is_told_with_its_values_and_what_is_among_them() -> None:
    phrase = Phrase("v{number} is {state}: only a candidate goes into a shadow", number=3, state=word("retired"))
    assert words.retold(phrase) == phrase == "v3 is retired: only a candidate goes into a shadow"


def test_it_is_kept_with_what_it_was_made_of(spoken: None) -> None:
    phrase = Phrase("{product}: {lapse}", product="flange", lapse=Phrase("epoch {id}", id=4))
    assert made_of(phrase) == {
        "template": "{product}: {lapse}",
        "values": {"product": "flange", "lapse": {"template": "epoch {id}", "values": {"id": 4}}},
    }
    assert words.retold(remade("flange: epoch 4", made_of(phrase))) == "⟦flange: ⟦epoch 4⟧⟧"
    assert made_of("a person's reason") is made_of(None) is None


def test_what_fills_it_is_kept_as_json_has_it(spoken: None) -> None:
    phrase = Phrase("not checked: {why}", why=Path("blobs"))
    kept = json.loads(json.dumps(made_of(phrase)))
    assert words.retold(remade(str(phrase), kept)) == "⟦not checked: blobs⟧"


@pytest.mark.parametrize("n", [float("nan"), float("inf"), -float("inf"), 0.1, 3])
def test_a_number_that_json_does_not_know_is_kept_as_text(n: float, spoken: None) -> None:
    phrase = Phrase("the score is {score}", score=n)
    kept = json.loads(json.dumps(made_of(phrase), allow_nan=False))
    assert words.retold(remade(str(phrase), kept)) == f"⟦the score is {n}⟧"


@pytest.mark.parametrize(
    "made",
    [
        None, {}, [], "x", {"template": "{n}"}, {"template": "{n}", "values": {}}, {"template": 3, "values": {}},
        {"template": "{n:d}", "values": {"n": "x"}}, {"template": "{n.real.x}", "values": {"n": 1}},
        {"template": "other words", "values": {}}, {"template": "{0}", "values": {"n": 1}},
    ],
)  # fmt: skip
def test_a_record_that_does_not_say_what_was_made_is_told_as_it_stands(made: object, spoken: None) -> None:
    assert words.retold(remade("of an earlier release", made)) == "of an earlier release"
