"""Break the HTTP/1.1 parser in many ways, and see whether its tests notice.

    python bench/http1_mutants.py

Each mutant is a copy of the room with one text exchanged, in a folder of its own; the tests of
`tests/web/http1` run against it and have to fail. Exits with 1 if a mutant survives. `--only N`
runs one, `--list` shows them all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "cloche"
ROOM = Path("web/http1")
TIMEOUT_S = 110

# (file, what stands there once, what stands there then)
MUTANTS = (
    ("framing.py", "        return TE_AND_CL\n", "        return None\n"),
    ("framing.py", "if len(set(values)) != 1:", "if len(set(values)) > 9:"),
    ("framing.py", "value = values[0]\n", "value = values[-1] + b'0'\n"),
    ("framing.py", "[0-9]{1,19}+", "[0-9+]{1,19}+"),
    ("framing.py", 'codings[-1] != b"chunked"', "False"),
    ("framing.py", 'codings.count(b"chunked") != 1', 'codings.count(b"chunked") < 1'),
    ("framing.py", "if len(codings) == 1 else", "if codings else"),
    ("framing.py", "if not modern or codings", "if codings"),
    ("framing.py", "host is None:\n        return False", "host is None:\n        return True"),
    ("framing.py", 'single[name] + b", " + value', "value"),
    ("framing.py", "if (modern or host is not None) and", "if host is not None and"),
    ("framing.py", "length > limit_bytes else length", "length > limit_bytes + 1 else length"),
    ("framing.py", 'version == b"1.0" and not caps.http_1_0', "False"),
    ("framing.py", 'single[b"expect"].lower() != b"100-continue"', "False"),
    ("framing.py", 'keep_alive = b"close" not in options', "keep_alive = True"),
    ("framing.py", "len(lines) > caps.field_count_max", "len(lines) > caps.field_count_max + 1"),
    ("framing.py", 'return method == b"OPTIONS"', "return True"),
    ("framing.py", "upgrades or connects,", "upgrades,"),
    ("head.py", 'rb"++:" + VALUE', 'rb"++ ?:" + VALUE'),
    ("head.py", 'rb"[\\t -~\\x80-\\xff]"', 'rb"[\\t\\n -~\\x80-\\xff]"'),
    ("head.py", 'rb"[\\t -~\\x80-\\xff]"', 'rb"[\\x00\\t -~\\x80-\\xff]"'),
    ("head.py", 'rb"++:" + VALUE', 'rb"*+:" + VALUE'),
    ("head.py", r"[!#$%&'*+\-.^_`|~0-9A-Za-z]", r"[!#$%&'()*+\-.^_`|~0-9A-Za-z]"),
    ("head.py", "            return OBS_FOLD\n", "            return None\n"),
    ("head.py", "        if end - self._line > limit:", "        if end - self._line > limit + 1:"),
    ("head.py", "> self._caps.field_count_max", "> self._caps.field_count_max + 1"),
    ("chunked.py", "{1,16}+)(?:", "{0,16}+)(?:"),
    ("chunked.py", "([0-9A-Fa-f]{1,16}+)", "([0-9A-Fa-fx]{1,16}+)"),
    ("chunked.py", 'or data[end : end + 2] != b"\\r\\n"', "or False"),
    ("chunked.py", 'if not b"\\r\\n".startswith(found):', "if False:"),
    ("chunked.py", "overhead + cost > overhead_limit", "False"),
    ("chunked.py", "or received + size > body_limit", "or False"),
    ("chunked.py", 'or line.partition(b":")[0].lower() in FORBIDDEN_TRAILERS', ""),
    ("chunked.py", "self._trailer_count > self._caps.trailer_count_max", "False"),
    ("chunked.py", "or start - position > line_limit", "or False"),
    ("parser.py", "self._open_count >= self._caps.pipelining_depth_max", "False"),
    ("parser.py", "                or not head.keep_alive\n", ""),
    ("parser.py", "self._skipped == LEADING_LINE_COUNT_MAX", "False"),
    ("parser.py", "            self._left = head.content_length\n",
     "            self._left = head.content_length + 1\n"),
    ("parser.py", "        return [self._refuse(TRUNCATED)]\n", "        return []\n"),
    ("head.py", "(?!CONNECT )", ""),
    ("plain.py", "++): ([!-~", "++): ?([!-~"),
    ("plain.py", r"(?<![\t ])", ""),
    ("plain.py", 'b"transfer-encoding", ', ""),
    ("plain.py", ', b"upgrade"})', "})"),
    ("plain.py", "lower.count(name) > 1 for", "lower.count(name) > 2 for"),
    ("plain.py", "caps.field_count_max >= FIELD_COUNT_MAX", "True"),
    ("plain.py", "end - start > self._limit_bytes", "False"),
    ("plain.py", "values[length_at], self._body_limit_bytes", "values[length_at], 1 << 62"),
    ("plain.py", "host != self._host and is_host(host)", "True"),
    ("plain.py", 'values[connection_at] != b"keep-alive"', "False"),
    ("framing.py", "length if length <= limit_bytes else -1", "length"),
    ("repeated.py", "end - start > self._limit_bytes", "False"),
    ("repeated.py", "before.fields[:]", "before.fields"),
    ("repeated.py", "before.content_length,", "0,"),
    ("repeated.py", "line is None", "False"),
    ("repeated.py", "value is None", "False"),
    ("repeated.py", "not data.startswith(beginning, fields_at)", "False"),
    ("repeated.py", "not data.startswith(rest, end)", "False"),
    ("repeated.py", "value[0].strip()", "value[0][:-2]"),
    ("repeated.py", 'VALUE + rb"*+\\r\\n"', 'rb"[^\\n]*+\\n"'),
    ("repeated.py", "any(names[index] in _FIXED for index in varying)", "False"),
    ("repeated.py", " or index in known", ""),
    ("repeated.py", "len(varying) > VARYING_COUNT_MAX", "False"),
    ("repeated.py", "end - fields_at > KEPT_LIMIT_BYTES", "False"),
    ("parser.py", 'if head.method == "CONNECT" or not head.keep_alive:', "if False:"),
)  # fmt: skip


def build(folder, mutant):
    """Make a package that is the real one but for one file."""
    name, old, new = mutant
    package = Path(folder) / "cloche"
    mirror(SOURCE, package, ROOM.parts)
    path = package / ROOM / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
    path.unlink()
    path.write_text(text.replace(old, new), encoding="utf-8")


def mirror(source, target, parts):
    """Link everything of a folder, but make folders of the path that `parts` says."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        if parts and entry.name == parts[0]:
            mirror(entry, target / entry.name, parts[1:])
        else:
            (target / entry.name).symlink_to(entry)


def survives(mutant):
    """Return whether the tests pass with a mutant."""
    with tempfile.TemporaryDirectory() as folder:
        build(folder, mutant)
        command = "-m pytest -x -q -p no:randomly -p no:cacheprovider tests/web/http1".split()
        # Neither the corpus, which is not always there, nor the test of this command itself.
        corpus = ["--deselect", "tests/web/http1/test_corpus.py"]
        corpus += ["--deselect", "tests/web/http1/test_mutants.py"]
        done = subprocess.run(
            [sys.executable, *command, *corpus],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, help="the number of one mutant")
    parser.add_argument("--list", action="store_true", help="show the mutants and end")
    arguments = parser.parse_args()
    chosen = list(enumerate(MUTANTS))
    if arguments.only is not None:
        chosen = [chosen[arguments.only]]
    if arguments.list:
        for number, (name, old, new) in chosen:
            print(f"{number}: {name}: {old!r} -> {new!r}")
        return
    survivors = []
    for number, mutant in chosen:
        if survives(mutant):
            survivors.append(number)
            print(f"survives {number}: {mutant}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants were noticed")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
