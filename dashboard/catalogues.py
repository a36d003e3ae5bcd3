"""Files of translated words: a plant's `de.po`, which translators' editors open, and the template it begins with."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from string import Formatter

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po, write_po

from agent.settings import SettingsError

TEMPLATE = Path(__file__).with_name("words.pot")
NAMED = 5  # wrong translations, in one error
WIDTH = 110
Field = tuple[str, str | None, str | None]  # a placeholder: its name, conversion and format


class WordsError(SettingsError):
    """A translation cannot be used; the message says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """What became of a catalogue: how many texts it has, how many nobody has translated, and what is wrong in it."""

    texts: int
    left: int
    wrong: Sequence[str]


def load(language: str, folder: str) -> NullTranslations:
    """The words of a language from `FOLDER/LANGUAGE.po`; English where that is "".

    Raises:
        WordsError: no such file, no catalogue in it, or a translation whose placeholders are not those of its text.
    """
    if not language:
        return NullTranslations()
    if not folder:
        raise WordsError(
            f'dashboard.language is {language!r}, and dashboard.words is "": set it to the folder of {language}.po, '
            f"which goodpart words FOLDER/{language}.po begins"
        )
    path = Path(folder) / f"{language}.po"
    catalogue = _read(path)
    if wrong := list(problems(catalogue)):
        rest = f"\n- and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise WordsError(f"{path}: put right what is wrong in it:\n- " + "\n- ".join(wrong[:NAMED]) + rest)
    compiled = io.BytesIO()
    try:
        write_mo(compiled, catalogue)
        compiled.seek(0)
        return GNUTranslations(compiled)
    except (ValueError, LookupError) as error:
        raise WordsError(f"{path}: its head (charset, Plural-Forms) cannot be used: {error}") from error


def renew(path: Path) -> Renewed:
    """Begins the catalogue of the language that the file is named by, or adds to it what is new; it loses nothing.

    What was said once is kept as a comment, what stands in no source stays.

    Raises:
        WordsError: it is not named by a language, is no catalogue, or cannot be written.
    """
    template = _read(TEMPLATE)
    try:
        locale = Locale.parse(path.stem.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise WordsError(f"{path}: name it by a language's code, such as de.po or pt_BR.po") from None
    new = Catalog(locale, project="goodpart", header_comment=template.header_comment, charset="utf-8", fuzzy=False)
    catalogue = _read(path) if path.exists() else new
    ids = [one.id for one in catalogue if not one.locations]
    catalogue.update(template, no_fuzzy_matching=True)
    for own in ids:  # of the plant's own reasons: of no source, hence of no earlier release
        if isinstance(own, str) and own in catalogue.obsolete:
            catalogue[own] = catalogue.obsolete.pop(own)
    out = io.BytesIO()
    write_po(out, catalogue, width=WIDTH, include_lineno=False)
    written = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(out.getvalue())
        written.replace(path)
    except OSError as error:
        raise WordsError(f"{path}: cannot be written: {error.strerror}") from error
    texts = [one for one in catalogue if one.id]
    left = sum(one.fuzzy or not all(_forms(one.string)) for one in texts)
    return Renewed(len(texts), left, list(problems(catalogue)))


def _read(path: Path) -> Catalog:
    try:
        with path.open("rb") as file:
            return read_po(file, abort_invalid=True)
    except FileNotFoundError:
        raise WordsError(
            f"{path}: there is no such file: goodpart words {path} begins it; or set dashboard.language to another "
            'language ("" is English)'
        ) from None
    except (OSError, ValueError, LookupError, PoFileError) as error:
        raise WordsError(f"{path}: cannot be read as a catalogue of words (a .po file): {error}") from error


def problems(catalogue: Catalog) -> Iterator[str]:
    """What is wrong with translations, each named by its text; those that are empty or fuzzy are not used at all."""
    for message in catalogue:
        if message.id and not message.fuzzy:
            yield from _wrong(message, catalogue.num_plurals)


def _wrong(message: Message, forms: int) -> Iterator[str]:
    ids, texts = _forms(message.id), _forms(message.string)
    if not any(texts):
        return
    if len(ids) > 1 and (len(texts) != forms or not all(texts)):
        yield f'"{ids[-1]}" needs {forms} forms, as the line Plural-Forms has it'
        return
    needed = _fields(ids[-1])
    for text in texts:
        try:
            found = _fields(text)
        except ValueError as error:
            yield f'"{text}": {error}'
            continue
        # A form for one, or for two, may say the number in words.
        missing = {one for one in needed - found if len(ids) == 1 or one[0] != "n"}
        if missing or found - needed:
            wanted = ", ".join(sorted(map(_written, needed))) or "none"
            yield f'"{text}" has not the placeholders of "{ids[-1]}": {wanted}'


def _forms(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """One text, or one of each plural form."""
    return (text or "",) if isinstance(text, str | None) else tuple(text)


def _fields(text: str) -> set[Field]:
    """The placeholders of a text; raises ValueError where its braces do not fit."""
    return {(name, conversion, form) for _, name, form, conversion in Formatter().parse(text) if name is not None}


def _written(field: Field) -> str:
    name, conversion, form = field
    return "{" + name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "") + "}"
