"""What a run may be asked to be: every wrong value has an error that names it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.errors import UnknownImageError
from cloche.engine.vfs import StoredFile
from cloche.exec.api import make_request
from cloche.exec.errors import InvalidFileError, InvalidRunError, UnsupportedLanguageError
from cloche.exec.request import LANGUAGES, SUFFIXES, RunRequest, language_of_file
from cloche.exec.types import Encoding, File
from cloche.exec.types import Limits as RunLimits
from cloche.gate.policy import Policy
from cloche.limits import Limits
from cloche.limits.errors import LimitRangeError


def request(code="1", **changes):
    """Return a request with these fields."""
    fields = {"language": "python", "limits": Limits(), "seed": 1, "now_ns": 2}
    return RunRequest(code=code, **{**fields, **changes})


def small(**guests):
    """Return limits with these fields of the group guests."""
    return Limits().replace({"guests": guests})


NO_NUL = "text without NUL"
NAMES = "names that are not empty and hold no =, and no NUL"
PATH = "a path that starts with / and holds no NUL"
UNICODE = "valid Unicode without lone surrogates"
CLOCK = "0 to 2^63 - 1: a time in the years 1970 to 2262"
WRONG = {
    "code of bytes": ({"code": b"1"}, "code", "b'1'", "str, not bytes"),
    "code of nothing": ({"code": None}, "code", "None", "str, not NoneType"),
    "half a pair in code": ({"code": "\ud800"}, "code", "'\\ud800'", UNICODE),
    "number as file name": ({"filename": 3}, "filename", "3", "str, not int"),
    "NUL in file name": ({"filename": "a\0.py"}, "filename", "'a\\x00.py'", NO_NUL),
    "half a pair in file name": ({"filename": "\udfff"}, "filename", "'\\udfff'", UNICODE),
    "text as stdin": ({"stdin": "x"}, "stdin", "'x'", "bytes, not str"),
    "relative cwd": ({"cwd": "work"}, "cwd", "'work'", PATH),
    "empty cwd": ({"cwd": ""}, "cwd", "''", PATH),
    "NUL in cwd": ({"cwd": "/a\0"}, "cwd", "'/a\\x00'", PATH),
    "cwd of bytes": ({"cwd": b"/"}, "cwd", "b'/'", "str, not bytes"),
    "negative seed": ({"seed": -1}, "seed", "-1", "0 to 2^64 - 1"),
    "large seed": ({"seed": 1 << 64}, "seed", "18446744073709551616", "0 to 2^64 - 1"),
    "truth as seed": ({"seed": True}, "seed", "True", "int, not bool"),
    "fraction as seed": ({"seed": 1.0}, "seed", "1.0", "int, not float"),
    "negative time": ({"now_ns": -1}, "now_ns", "-1", CLOCK),
    "late time": ({"now_ns": 1 << 63}, "now_ns", "9223372036854775808", CLOCK),
    "number as argument": ({"args": ("a", 1)}, "args", "1", "str, not int"),
    "NUL in argument": ({"args": ("a\0",)}, "args", "'a\\x00'", NO_NUL),
    "half a pair in argument": ({"args": ("\udc80",)}, "args", "'\\udc80'", UNICODE),
    "empty name in env": ({"env": {"": "1"}}, "env", "''", NAMES),
    "= in env": ({"env": {"a=b": "1"}}, "env", "'a=b'", NAMES),
    "NUL in env": ({"env": {"a": "\0"}}, "env", "'a'", NAMES),
    "number in env": ({"env": {"a": 1}}, "env", "1", "str, not int"),
    "half a pair in env": ({"env": {"a": "\ud800"}}, "env", "'\\ud800'", UNICODE),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_value(name):
    """A wrong value is refused with its field, what was found, and what is allowed."""
    changes, field, found, allowed = WRONG[name]
    with pytest.raises(InvalidRunError) as caught:
        request(**changes)
    error = caught.value
    assert error.message == f"{field} is {found}; it must be {allowed}"
    assert error.fields == {"field": field, "found": found, "allowed": allowed}
    assert (error.code, error.blame) == ("INVALID_RUN", "caller")


LARGE = {
    "code_limit_bytes": ({"code": "é" * 3}, "code", 6, "bytes", 5),
    "stdin_limit_bytes": ({"stdin": b"123"}, "stdin", 3, "bytes", 2),
    "argument_count_max": ({"args": ("a", "b")}, "args", 2, "entries", 1),
    "argument_limit_bytes": ({"args": ("ab", "é")}, "args", 4, "bytes", 3),
    "environment_count_max": ({"env": {"a": "", "b": ""}}, "env", 2, "entries", 1),
    "environment_limit_bytes": ({"env": {"ab": "cd"}}, "env", 4, "bytes", 3),
    "path_limit_bytes": ({"cwd": "/" + "a" * 99}, "cwd", 100, "bytes", 99),
}


@pytest.mark.parametrize("name", LARGE)
def test_too_large(name):
    """What is larger than its limit is refused by name; at the limit it is taken."""
    changes, field, found, unit, limit = LARGE[name]
    with pytest.raises(InvalidRunError) as caught:
        request(**changes, limits=small(**{name: limit}))
    error = caught.value
    assert error.message == f"{field} has {found} {unit}; guests.{name} allows at most {limit}"
    assert error.fields == {
        "field": field,
        "found": found,
        "limit": f"guests.{name}",
        "limit_value": limit,
    }
    request(**changes, limits=small(**{name: limit + 1}))


def test_long_value_is_cut():
    """An error repeats the start of a long value, not megabytes of it."""
    with pytest.raises(InvalidRunError) as caught:
        request(cwd="x" * 4000)
    assert caught.value.fields["found"] == "'" + "x" * 79 + "…"


@pytest.mark.parametrize("language", ["ruby", "", "Python", None, 5, ["python"]])
def test_unknown_language(language):
    """A language that is not there is the golem:exec arm of that name; nothing ran."""
    with pytest.raises(UnsupportedLanguageError) as caught:
        request(language=language)
    error = caught.value
    assert error.message == (
        f"cloche does not run {language!r}; it runs javascript, typescript and python"
    )
    assert (error.case, error.result) == ("unsupported-language", None)


def test_each_spelling():
    """Short and long names of a language mean the same guest and the same default name."""
    names = {spelling: request(language=spelling) for spelling in LANGUAGES}
    assert {s: (r.guest_language, r.filename) for s, r in names.items()} == {
        "javascript": ("javascript", "main.js"),
        "js": ("javascript", "main.js"),
        "typescript": ("javascript", "main.ts"),
        "ts": ("javascript", "main.ts"),
        "python": ("python", "main.py"),
        "py": ("python", "main.py"),
    }
    assert [s for s, r in names.items() if r.is_typescript] == ["typescript", "ts"]


def test_language_of_file():
    """The suffix of a file says its language, in any case; others say nothing."""
    assert {suffix: language_of_file(f"a.b{suffix.upper()}") for suffix in SUFFIXES} == SUFFIXES
    assert [language_of_file(name) for name in ("", "py", "a.rb", ".py/a", "Makefile")] == [
        None
    ] * 5


def test_filename_chooses():
    """Without a language, the file name decides; without both it is Python."""
    assert make_request("1", filename="a.mts").is_typescript
    assert make_request("1", filename="a.cjs").guest_language == "javascript"
    assert make_request("1", filename="README").guest_language == "python"
    assert make_request("1").filename == "main.py"


def test_image_choice():
    """The program's imports choose the image; a named image wins, an unknown one is refused."""
    assert request().image_name == "python"
    assert request("import numpy as np").image_name == "python+numpy"
    assert request("# import numpy").image_name == "python"
    assert request("import numpy", image="python").image_name == "python"
    from cloche.exec.api import execute

    with pytest.raises(UnknownImageError):
        execute(request(image="cobol"))
    with pytest.raises(InvalidRunError) as caught:
        execute(request(image="javascript"))
    assert str(caught.value) == "the image javascript runs javascript, the program is python"


SHAPES = {
    "args": ("abc", "'abc'", "a list of texts"),
    "files": ("abc", "'abc'", "a list of files"),
    "env": (["a=1"], "['a=1']", "a mapping of names to values"),
    "stdin": (7, "7", "text or bytes"),
}


@pytest.mark.parametrize("field", SHAPES)
def test_wrong_shape(field):
    """A value that would be taken apart in silence is refused: one text is not many arguments."""
    value, found, allowed = SHAPES[field]
    with pytest.raises(InvalidRunError) as caught:
        make_request("1", **{field: value})
    assert caught.value.fields == {"field": field, "found": found, "allowed": allowed}


def test_wrong_file():
    """Something else than a file among the files is refused."""
    with pytest.raises(
        InvalidRunError, match=r"^files is 'a\.txt'; it must be File or StoredFile$"
    ):
        make_request("1", files=["a.txt"])


def test_stdin_of_text():
    """Text on standard input is encoded as UTF-8; half a surrogate pair is refused."""
    assert make_request("1", stdin="é").stdin == "é".encode()
    with pytest.raises(InvalidRunError) as caught:
        make_request("1", stdin="\ud800")
    assert caught.value.fields["field"] == "stdin"


def test_impossible_files():
    """Files whose names cannot be are refused before anything runs."""
    from cloche.exec.api import execute

    for name in ("", "/", "a\0b", "../../\0", "x" * 5000, "\ud800"):
        with pytest.raises(InvalidRunError):
            execute(request(files=(StoredFile(path=name, content=b""),)))


def test_limits_of_golem_exec():
    """The limits of golem:exec map onto those of the group guests, with the same ranges."""
    limits = RunLimits(time_ms=7, memory_bytes=32 << 20, file_size_bytes=9, max_processes=1)
    guests = make_request("1", limits=limits).limits.guests
    found = (guests.timeout_ms, guests.memory_limit_bytes, guests.file_limit_bytes)
    assert found == (7, 32 << 20, 9)
    default = Limits().guests.memory_limit_bytes
    assert (
        make_request("1", limits=RunLimits(time_ms=7)).limits.guests.memory_limit_bytes == default
    )
    with pytest.raises(LimitRangeError) as caught:
        make_request("1", limits=RunLimits(time_ms=0))
    assert caught.value.message == (
        "guests.timeout_ms is 0 (from the call); it must be between 1 and 86400000 ms"
    )


def test_policy_by_tools():
    """Tools without a policy are allowed by name; nothing else is, and an own policy wins."""
    tools = {"b": print, "a": print}
    assert make_request("1", tools=tools).policy == Policy.allow(tool=["a", "b"])
    assert make_request("1", tools=tools, policy=Policy()).policy == Policy()
    assert make_request("1").policy == Policy()


def test_nothing_is_left_open():
    """Seed and time are filled in, so that the request alone says what the run will do."""
    one, other = make_request("1"), make_request("1")
    assert one.seed != other.seed
    assert one.now_ns > 1_600_000_000_000_000_000


@pytest.mark.parametrize(
    ("content", "encoding", "data"),
    [
        ("é".encode(), None, "é".encode()),
        (b"\xff", None, b"\xff"),
        ("é".encode(), Encoding.UTF8, "é".encode()),
        (b"AP8=", Encoding.BASE64, b"\0\xff"),
        (b"", Encoding.BASE64, b""),
        (b"00fF", Encoding.HEX, b"\0\xff"),
    ],
)
def test_file_encodings(content, encoding, data):
    """A file's bytes are what its encoding says; without one they are taken as they are."""
    assert File(name="a", content=content, encoding=encoding).data() == data


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"\xff", Encoding.UTF8),
        (b"A===", Encoding.BASE64),
        (b"A P8=", Encoding.BASE64),
        (b"0", Encoding.HEX),
        (b"zz", Encoding.HEX),
        (b"\xff\xff", Encoding.HEX),
    ],
)
def test_file_that_is_not_its_encoding(content, encoding):
    """A file whose content is not in its encoding is refused by name."""
    with pytest.raises(InvalidFileError) as caught:
        make_request("1", files=[File(name="data.bin", content=content, encoding=encoding)])
    assert caught.value.fields == {"name": "data.bin", "encoding": encoding.value}
    assert str(caught.value).startswith(f"the file 'data.bin' is not valid {encoding.value}: ")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoding": "hex"}, "a file's encoding is of str; it must be Encoding"),
        ({"content": "text"}, "a file's content is of str; it must be bytes"),
        ({"name": None}, "a file's name is of NoneType; it must be str"),
    ],
)
def test_file_of_wrong_types(fields, message):
    """A file with a field of the wrong type cannot be made."""
    with pytest.raises(InvalidRunError) as caught:
        File(**{"name": "a", "content": b"", **fields})
    assert caught.value.message == message


@given(st.binary(max_size=200))
def test_file_round_trip(data):
    """Any bytes pass through base64 and hex unchanged."""
    import base64

    encoded = {Encoding.BASE64: base64.b64encode(data), Encoding.HEX: data.hex().encode()}
    for encoding, content in encoded.items():
        assert File(name="a", content=content, encoding=encoding).data() == data


def test_requests_are_values():
    """A request cannot be changed, and equal fields make equal requests."""
    one = request()
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.seed = 2
    assert one == request()
    assert one != request(seed=2)


def test_a_request_again_differs_in_what_is_given_alone():
    """It is what a new one with these fields is, and refuses what that refuses."""
    first = request(env={"A": "b"}, args=("x",), cwd="/work", state="app", real_time=True)
    given_ = {"code": "2", "seed": 3, "now_ns": 4, "stdin": b"in"}
    assert first.again(**given_) == dataclasses.replace(first, **given_)
    for wrong in ({"code": 5}, {"stdin": "text"}, {"seed": -1}, {"now_ns": 1 << 63}):
        with pytest.raises(InvalidRunError) as again:
            first.again(**{**given_, **wrong})
        with pytest.raises(InvalidRunError) as new:
            dataclasses.replace(first, **{**given_, **wrong})
        assert again.value.message == new.value.message
    with pytest.raises(InvalidRunError, match="code_limit_bytes"):
        request(limits=small(code_limit_bytes=16)).again(**{**given_, "code": "1" * 17})


@given(
    code=st.text(max_size=6) | st.just(b"1"),
    filename=st.sampled_from(["", "a.py", "a\0", "é.py", "a" * 65, "\ud800"]),
    cwd=st.sampled_from(["/", "", "a", "/\0", "/é", "/" + "a" * 64]),
    stdin=st.sampled_from([b"", b"12", b"123", "12"]),
    args=st.sampled_from([(), ("a",), ("\0",), ["a"], []]),
    env=st.sampled_from([{}, {"A": "b"}, {"": ""}, {"A": 1}]),
    seed=st.sampled_from([0, -1, 1 << 64, True, "1"]),
    now_ns=st.sampled_from([0, -1, 1 << 63, True, 1.0]),
)
def test_valid_at_first_sight(**fields):
    """What is taken without a closer look would be taken with one."""
    limits = small(code_limit_bytes=4, path_limit_bytes=64, stdin_limit_bytes=2)
    asked = {"limits": limits, **fields}

    def outcome():
        try:
            return request(**asked)
        except (InvalidRunError, TypeError, AttributeError) as error:
            return type(error), str(error)

    with pytest.MonkeyPatch.context() as patch:
        found = outcome()
        patch.setattr("cloche.exec.request._is_plain", lambda _: False)
        assert outcome() == found
