"""Every page of `docs/` is in its index, and every link of every page leads somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
CODE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1[^\n]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
# Pages that the front page names and that are still being written.
COMING: set[str] = set()
EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def links(text):
    """Return the targets of all links that stand outside of code."""
    return [first or second for first, second in LINK.findall(CODE.sub("", text))]


def anchors(text):
    """Return the anchors that the headings of a page make."""
    names = [re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text)]
    return {name.replace(" ", "-") for name in names}


def broken(page, root):
    """Return what is wrong with the links of a page."""
    found = []
    for target in links(page.read_text(encoding="utf-8")):
        if EXTERNAL.match(target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / unquote(path)).resolve() if path else page
        name = page.relative_to(root)
        if not place.is_relative_to(root.resolve()):
            found.append(f"{name}: {target} leads out of the repository")
        elif not place.exists():
            found.append(f"{name}: {target} is not there")
        elif anchor and anchor not in anchors(place.read_text(encoding="utf-8")):
            found.append(f"{name}: {target} names no heading")
    return found


def reachable(index):
    """Return every page that links lead to from an index, the index included."""
    seen, waiting = set(), [index.resolve()]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        paths = (target.partition("#")[0] for target in links(page.read_text(encoding="utf-8")))
        waiting += [
            (page.parent / unquote(path)).resolve()
            for path in paths
            if path.endswith(".md") and not EXTERNAL.match(path)
        ]
    return seen


def pages():
    """Return every Markdown file of the repository that is ours."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    else:  # an unpacked archive has no git
        paths = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    # Templates are copied into other projects: their links start there.
    return sorted(path for path in paths if path.is_file() and "templates" not in path.parts)


def test_every_page_is_in_the_index():
    """The index itself names every page of docs, each once."""
    named = [
        (DOCS / target.partition("#")[0]).resolve()
        for target in links(INDEX.read_text(encoding="utf-8"))
        if not EXTERNAL.match(target)
    ]
    missing = {path.resolve() for path in pages() if path.is_relative_to(DOCS)} - {*named, INDEX}
    assert sorted(path.relative_to(ROOT).as_posix() for path in missing) == []
    assert len(named) == len(set(named))


def test_every_page_is_reachable_from_the_front_page():
    """Who starts at README.md gets to every page by links alone."""
    seen = reachable(ROOT / "README.md")
    assert [str(path) for path in pages() if path.resolve() not in seen] == []


def test_every_link_leads_somewhere():
    """Files and headings that pages link to are there, and inside the repository."""
    coming = {f"README.md: {page} is not there" for page in COMING}
    found = [problem for page in pages() for problem in broken(page, ROOT)]
    assert [problem for problem in found if problem not in coming] == []


def test_the_files_that_need_a_second_reader_are_there():
    """The list in CONTRIBUTING.md names files of today."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Files that need a second reader")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
    assert len(names) >= 20
    assert [name for name in names if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](b.md)", []),
        ("[a](b.md#a-heading-here)", []),
        ("[a](#here)\n\n# Here", []),
        ("[a](https://example.org/x)", []),
        ("`[a](c.md)`\n\n```\n[a](c.md)\n```", []),
        ("[a](c.md)", ["a.md: c.md is not there"]),
        ("[a]: c.md", ["a.md: c.md is not there"]),
        ("![a](c.svg)", ["a.md: c.svg is not there"]),
        ("[a](b.md#other)", ["a.md: b.md#other names no heading"]),
        ("[a](../b.md)", ["a.md: ../b.md leads out of the repository"]),
    ],
)
def test_what_is_wrong_with_a_link_is_found(tmp_path, text, expected):
    """Each kind of bad link is named, each kind of good one is not."""
    (tmp_path / "b.md").write_text("# A `heading`, here\n", encoding="utf-8")
    page = tmp_path / "a.md"
    page.write_text(text, encoding="utf-8")
    assert broken(page, tmp_path) == expected


def test_links_are_followed_through_pages(tmp_path):
    """A page that another page links to counts, one that nobody names does not."""
    (tmp_path / "a.md").write_text("[b](b.md#x) [out](https://example.org/c.md)", encoding="utf-8")
    (tmp_path / "b.md").write_text("[a](a.md) `[c](c.md)`", encoding="utf-8")
    (tmp_path / "c.md").write_text("alone", encoding="utf-8")
    assert {page.name for page in reachable(tmp_path / "a.md")} == {"a.md", "b.md"}
