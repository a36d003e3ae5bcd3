"""Every word that the dashboard shows comes from one catalogue, and a plant's own one is used or refused as a whole."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter

import pytest

from agent import settings
from agent.settings import SettingsError
from dashboard import codes, sheets, tables, words
from dashboard.catalogues import WordsError, load, renew
from dashboard.components import andon, door, review
from tests.words_template import SOURCE, TEXTS, template

PYTHON = sorted(SOURCE.rglob("*.py"))
SCRIPTS = sorted(SOURCE.rglob("*.js"))
NOT_SHOWN = {"style.py", "serve.py", "catalogues.py", "identities.py", "seals.py"}  # style, the command line, the log
# Arguments that people read. What a function of ours passes on to one of these is said by its caller.
LABELLED = {
    "title", "header", "subheader", "caption", "markdown", "info", "warning", "error", "success", "text", "write",
    "button", "checkbox", "toggle", "text_input", "number_input", "date_input", "time_input", "selectbox",
    "multiselect", "dialog", "segmented_control", "download_button", "form_submit_button", "popover",
    "expander", "metric", "toast",
}  # fmt: skip
READ = {"help", "placeholder", "title", "label"}
MARKUP = re.compile(r"\{[^}]*\}|@media\b|<[^>]*>?|:material/\w+:|[\w-]+='[^']*'?|[\w.-]+:[\w/.()%-]+;?")
WORDS = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,}|^\W*[A-Z][a-z]+")
CSV = {
    "Seen", "Serial", "Frame", "Product", "Station", "Lot", "State", "Decision", "Reason", "Reviewer", "Verdict",
    "Score", "Severity",
}  # fmt: skip
ALLOWED = {
    "andon.py": {"no model", "out of focus", "over its rate"},  # states, keys of STATES
    "blobs.py": {"Cache-Control", "Content-Security-Policy", "private, no-cache"},
    "browsing.py": {"added by"},  # a key in the address
    "entering.py": {"Cache-Control", "signed out"},  # the end of a session, as it is recorded
    "front.py": {"Cache-Control", "<script>window.__streamlit = {BACKEND_BASE_URL: location.origin, HOST_CONFIG: "},
    "grouping.py": {"like no other", "not comparable"},  # kinds of groups
    "shift_report.py": {"Shift from"},  # of the CSV, which stays English
    "sign_in.py": {"goodpart"},
    "tracing.py": {"operator"},
    "triage.py": CSV,
    "versions.py": {"Model", "What", "From", "To", "Words"},  # keys of rows
    "shift.py": {"Station", "Reason", "Kind", "What"},
    "withdrawing.py": {"defect"},
}
SCRIPTED = {  # of the scripts: keys, styles, what forms and requests are
    "AltGraph", "Arrow", "Enter", "Escape", "Esc", "input, textarea, select, [contenteditable]", "tag pending",
    "heat flicker", "Content-Type",
}  # fmt: skip
FILLED_LATER = {  # with HTML, after the text is escaped
    "say('people: {said}')", "say('All of the part: {link}')", "say('What came is kept as dead letter {link}.')",
}  # fmt: skip
HEAD = (
    'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    '"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
)
PART = 'msgid "{{n}} part"\nmsgid_plural "{{n}} parts"\nmsgstr[0] "{}"\nmsgstr[1] "{}"\n'


def test_the_template_is_that_of_the_source() -> None:
    assert (SOURCE / "words.pot").read_bytes() == template(), "make words"


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_page_shows_no_word_beside_the_catalogue(path: Path) -> None:
    if path.name not in NOT_SHOWN:
        name = path.relative_to(SOURCE).as_posix().removeprefix("views/")
        assert set(unsaid(ast.parse(path.read_text(encoding="utf-8")))) == ALLOWED.get(name, set())


def unsaid(tree: ast.Module) -> Iterator[str]:
    """Literals that people could read, outside the calls that say them."""
    passed = {id(part) for one in ast.walk(tree) if _is_quiet(one) for part in ast.walk(one)}
    for one in ast.walk(tree):
        if id(one) not in passed and (text := _text(one)) and WORDS.search(MARKUP.sub(" ", text)):
            yield text
        if isinstance(one, ast.Call) and id(one) not in passed:
            yield from _labels(one, passed)


def _is_quiet(one: ast.AST) -> bool:
    """Whether what is below a node is said already, or is no word for people: a docstring, a programmer's error."""
    if isinstance(one, ast.Call):
        return isinstance(one.func, ast.Name) and one.func.id in TEXTS
    if isinstance(one, ast.Raise):
        return isinstance(one.exc, ast.Call) and getattr(one.exc.func, "id", "") == "ValueError"
    return isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)


def _labels(call: ast.Call, passed: set[int]) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    read = [*(call.args[:1] if name in LABELLED else ()), *(one.value for one in call.keywords if one.arg in READ)]
    for one in read:
        for part in ast.walk(one):
            text = "" if id(part) in passed else _text(part)
            if re.search(r"[A-Za-z]{2}", MARKUP.sub(" ", text)):
                yield text


def _text(one: ast.AST) -> str:
    return one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else ""


def test_each_text_is_given_what_it_is_filled_with() -> None:
    wrong = []
    for path in PYTHON:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
            if not isinstance(call, ast.Call) or name not in ("say", "several") or not _text(call.args[0]):
                continue
            own = {"n"} if name == "several" else set[str]()
            given = {one.arg for one in call.keywords}
            filled = {field for text in call.args for _, field, _, _ in Formatter().parse(_text(text)) if field}
            if None not in given and given | own != filled | own and ast.unparse(call) not in FILLED_LATER:
                wrong.append(ast.unparse(call))
    assert wrong == []


def test_each_widget_has_a_key() -> None:
    """Its identity is not its label: two labels may be one word in another language."""
    keyed = LABELLED & {one for one in LABELLED if "button" in one or "input" in one or "select" in one} | {
        "checkbox", "toggle", "segmented_control",
    }  # fmt: skip
    without = [
        f"{path.name}:{call.lineno}"
        for path in PYTHON
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in keyed
        if ast.unparse(call.func) not in ("st.form_submit_button", "recertifying.button", "changing.button")
        and "key" not in {one.arg for one in call.keywords}
    ]
    assert without == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_no_word_of_its_own(path: Path) -> None:
    code = re.sub(r"(^|\s)//.*", "", path.read_text(encoding="utf-8"))
    literals = [re.sub(r"\$\{[^}]*\}", "", one[1:-1]) for one in re.findall(r"\"[^\"]*\"|`[^`]*`", code)]
    assert {one for one in literals if WORDS.search(one)} <= SCRIPTED


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        (andon.WORDS, ("board",)), (review.WORDS, ("desk",)),
        ({**door.ENTER, **door.EXCHANGE, **door.KEEP}, ("door",)),
    ],
)  # fmt: skip
def test_a_script_is_given_just_the_words_that_it_shows(words: Mapping[str, object], folders: Sequence[str]) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.parent.name in folders)
    used = set(re.findall(r"\bWORDS\.(\w+)", code))
    views = (
        set(re.findall(r"const VIEWS = \[(.*)\]", code)[0].replace('"', "").split(", ")) if "VIEWS" in code else set()
    )
    assert used | views == set(words)


def test_a_language_without_its_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match=r'dashboard.words is "".*goodpart words FOLDER/de.po begins'):
        load("de", "")
    with pytest.raises(WordsError, match=r"de.po: there is no such file: goodpart words .*de.po begins it"):
        load("de", str(tmp_path))
    assert load("", "").gettext("Line") == "Line"


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"not a catalogue", HEAD.replace("UTF-8", "nonsense").encode(), HEAD.replace("!=", "!").encode()],
)
def test_a_file_that_is_no_catalogue_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "de.po").write_bytes(content)
    with pytest.raises(
        WordsError, match=r"de\.po: (cannot be read as a catalogue of words|its head .* cannot be used)"
    ):
        load("de", str(tmp_path))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('msgid "{n} d"\nmsgstr "{m} T"\n', '"{m} T" has not the placeholders of "{n} d": {n}'),
        ('msgid "{n:,} of {all}"\nmsgstr "{n} von {all}"\n', 'of "{n:,} of {all}": {all}, {n:,}'),
        ('msgid "{name}"\nmsgstr "{name.__class__}"\n', 'has not the placeholders of "{name}": {name}'),
        ('msgid "{name}"\nmsgstr "{name!r}"\n', 'has not the placeholders of "{name}": {name}'),
        ('msgid "{n} d"\nmsgstr "{n T"\n', '"{n T": expected'),
        ('msgid "Line"\nmsgstr "{Linie}"\n', '"{Linie}" has not the placeholders of "Line": none'),
        (PART.format("{n} Teil", "Teile"), None),
        (PART.format("ein Teil", "{m} Teile"), '"{m} Teile" has not the placeholders'),
        (PART.format("ein Teil", ""), '"{n} parts" needs 2 forms'),
        ('#, fuzzy\nmsgid "{n} d"\nmsgstr "{m} T"\n', None),
        ('msgid "{n} d"\nmsgstr ""\n', None),
    ],
)
def test_a_translation_with_other_placeholders_is_refused_by_its_text(
    entry: str, said: str | None, tmp_path: Path
) -> None:
    (tmp_path / "de.po").write_text(HEAD + entry)
    if said is None:
        load("de", str(tmp_path))
        return
    with pytest.raises(WordsError, match=re.escape(said)) as caught:
        load("de", str(tmp_path))
    assert str(tmp_path / "de.po") in str(caught.value)


def test_a_language_has_as_many_plural_forms_as_it_says(tmp_path: Path) -> None:
    polish = HEAD.replace(
        "nplurals=2; plural=(n != 1)",
        "nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14) ? 1 : 2)",
    )
    entry = PART.format("część", "{n} części") + 'msgstr[2] "{n} częśći"\n'
    (tmp_path / "pl.po").write_text(polish + entry)
    words.use(load("pl", str(tmp_path)))
    try:
        assert [words.several("{n} part", "{n} parts", n) for n in (1, 3, 5)] == ["część", "3 części", "5 częśći"]
        assert words.several("{n} day", "{n} days", 2) == "2 days", "without a translation it is English"
    finally:
        words.use(load("", ""))


def test_words_are_said_in_the_language_as_they_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "de.po").write_text(
        HEAD + 'msgid "rolled back"\nmsgstr "zurückgenommen"\n\nmsgid "{age} ago"\nmsgstr "vor {age}"\n'
    )
    words.use(load("de", str(tmp_path)))
    try:
        assert codes.shown("rolled_back") == codes.named("rolled_back") == "zurückgenommen"
        assert (codes.shown("bad_weld"), codes.named("bad_weld"), words.say("")) == ("bad weld", "bad_weld", "")
        assert words.say("{age} ago", age="3 min") == "vor 3 min"
        assert "<th scope='col'>zurückgenommen</th>" in tables.table([{"rolled back": "rolled back"}])
        assert sheets.to_csv([{"rolled back": 1}]) == '"rolled back"\r\n1\r\n', "scripts read it"
    finally:
        words.use(load("", ""))


def test_a_catalogue_is_begun_and_renewed_without_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "new" / "de.po"
    begun = renew(path)
    assert begun.texts == begun.left > 500 and begun.wrong == []
    text = path.read_text()
    path.write_text(
        text.replace('msgid "Triage"\nmsgstr ""', 'msgid "Triage"\nmsgstr "Sichten"')
        + '\n#: dashboard/old.py\nmsgid "of an earlier release"\nmsgstr "einer früheren"\n'
        + '\nmsgid "bad weld"\nmsgstr "Schweißfehler"\n'
    )
    renewed = renew(path)
    assert (renewed.texts, renewed.left) == (begun.texts + 1, begun.left - 1)
    assert '#~ msgstr "einer früheren"' in path.read_text()
    german = load("de", str(path.parent))
    assert (german.gettext("Triage"), german.gettext("bad weld")) == ("Sichten", "Schweißfehler")
    path.write_text(path.read_text().replace('msgid "Shift"\nmsgstr ""', 'msgid "Shift"\nmsgstr "{Schicht}"'))
    assert list(renew(path).wrong) == ['"{Schicht}" has not the placeholders of "Shift": none']
    with pytest.raises(WordsError, match="name it by a language's code"):
        renew(tmp_path / "words.po")


@pytest.mark.parametrize("language", ["../de", "de.po", "d", "de/x", "de\n"])
def test_a_language_is_a_code(language: str) -> None:
    with pytest.raises(SettingsError, match=r"dashboard\.language"):
        settings.load(None, {"GOODPART_DASHBOARD__LANGUAGE": language})
    assert settings.load(None, {"GOODPART_DASHBOARD__LANGUAGE": "pt_BR"}).dashboard.language == "pt_BR"
