"""Builds `guest.wasm` from C, and the JavaScript library, reproducibly. Standard library only.

    python build.py            build what is missing or stale
    python build.py --force    build everything again
    python build.py --check    build twice and compare

The engine's sources are the published sdist of quickjs-ng, pinned by digest and kept in the user's
cache folder. The compiler is the `ziglang` package. Same inputs, same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "guest.wasm"
LOCK = HERE / "guest.lock.json"
LIBRARY = HERE / "lib"

ENGINE = "quickjs-ng==0.17.0.2"
ENGINE_ARCHIVE = "quickjs_ng-0.17.0.2.tar.gz"
ENGINE_SHA256 = "43d2e48272208721a7aaea8e3f02d4b9318f12ef20cc4f5421b59d9a470706ef"
ENGINE_FOLDER = "quickjs_ng-0.17.0.2/upstream-quickjs"
# guest.c includes quickjs.c: it seals what only that file knows.
SOURCES = ("guest.c", "seal.c", "web.c")  # the first includes the others
ENGINE_SOURCES = ("libregexp.c", "libunicode.c", "dtoa.c")
COMPILER = "ziglang 0.17.0"

# The parser and JSON recurse with much machine stack and little of the linear memory that the
# engine measures. Each has a state on the stack where it began, so its own depth can be told
# from there; 256 KiB is some thousand levels.
NATIVE_DEPTH_BYTES = 256 << 10
PATCHES = (
    (
        "js_check_stack_overflow(s->ctx->rt, 1000)",
        "js_check_stack_overflow(s->ctx->rt, 1000) || IS_TOO_DEEP(s)",
        2,
    ),
    (
        (
            "    tab = JS_UNDEFINED;\n    prop = JS_UNDEFINED;\n\n"
            "    if (js_check_stack_overflow(ctx->rt, 0)) {"
        ),
        (
            "    tab = JS_UNDEFINED;\n    prop = JS_UNDEFINED;\n\n"
            "    if (js_check_stack_overflow(ctx->rt, 0) || IS_TOO_DEEP(jsc)) {"
        ),
        1,
    ),
    # A session runs snippet after snippet in one global scope: a later declaration of a name takes
    # the place of the earlier one, as in the console of a browser.
    (
        ("    prs = find_own_property1(p, prop);\n    if (prs) {\n    fail_redeclaration:"),
        (
            "    prs = find_own_property1(p, prop);\n"
            "    if (prs && delete_property(ctx, p, prop) < 0) {\n    fail_redeclaration:"
        ),
        1,
    ),
    (
        "            (def_flags & JS_PROP_CONFIGURABLE);\n        val = JS_UNDEFINED;",
        "            JS_PROP_CONFIGURABLE;\n        val = JS_UNDEFINED;",
        1,
    ),
    # What is sealed into the image stays for good, see guest.c: nobody counts its references, which
    # would write to the page that it lies on.
    (
        "#define JS_GC_TYPE(p)",
        (
            "#define JS_SEALED (1 << 29)\n"
            "#define JS_REF_TAKE(p) (JS_REF_COUNT(p) < JS_SEALED ? ++JS_REF_COUNT(p) : JS_SEALED)\n"
            "#define JS_REF_DROP(p) (JS_REF_COUNT(p) < JS_SEALED ? --JS_REF_COUNT(p) : JS_SEALED)\n"
            "#define JS_GC_TYPE(p)"
        ),
        1,
    ),
    # Texts without anything to escape are most of what is written as JSON.
    (
        "    for(i = 0; i < p->len; ) {\n        c = string_getc(p, &i);\n        switch(c) {",
        (
            "    for(i = 0; i < p->len; ) {\n"
            "        if (!p->is_wide_char) {\n"
            "            const uint8_t *text = str8(p);\n"
            "            int from = i;\n"
            "            while (i < p->len && text[i] >= 32 && text[i] != '\"'\n"
            "                   && text[i] != '\\\\')\n"
            "                i++;\n"
            "            if (i > from && string_buffer_write8(b, text + from, i - from))\n"
            "                goto fail;\n"
            "            if (i == p->len)\n"
            "                break;\n"
            "        }\n"
            "        c = string_getc(p, &i);\n        switch(c) {"
        ),
        1,
    ),
    # Arenas of another size while the image is sealed, see guest.c.
    (
        "#define JS_ARENA_SIZE              4096",
        "extern unsigned int cloche_arena_bytes;\n#define JS_ARENA_SIZE cloche_arena_bytes",
        1,
    ),
)

# (pattern, replacement, how often): every place where the engine counts references.
COUNTING = (
    (r"JS_REF_COUNT\(([\w>-]+)\)\+\+;", r"JS_REF_TAKE(\1);", 19),
    (r"JS_REF_COUNT\(([\w>-]+)\)--;", r"JS_REF_DROP(\1);", 2),
    (r"--JS_REF_COUNT\(([\w>-]+)\)", r"JS_REF_DROP(\1)", 7),
)

STACK_BYTES = 4 << 20  # linear memory for the C stack; guest.c stops programs well before its end
FLAGS = (
    "--target=wasm32-wasi",
    "-mexec-model=reactor",
    "-O2",
    "-DNDEBUG",
    f"-DIS_TOO_DEEP(base)=((uintptr_t)(base) - js_get_stack_pointer() > {NATIVE_DEPTH_BYTES})",
    "-D_GNU_SOURCE",
    "-D_WASI_EMULATED_SIGNAL",
    "-std=c11",
    "-fno-ident",
    "-fvisibility=hidden",
    "-w",
    "-s",
    f"-Wl,-z,stack-size={STACK_BYTES}",
    "-Wl,--strip-all",
    "-Wl,--gc-sections",
)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Build the JavaScript guest.")
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    parser.add_argument("--check", action="store_true", help="build twice and compare")
    options = parser.parse_args()
    if options.check:
        check()
    else:
        build(force=options.force)


def build(*, force: bool = False) -> None:
    """Build what is missing or stale."""
    inputs = inputs_digest()
    if not force and OUTPUT.exists() and read_lock().get("inputs") == inputs:
        return
    compile_guest(OUTPUT)
    lock = {"inputs": inputs, "output": digest(OUTPUT.read_bytes())}
    LOCK.write_text(json.dumps(lock, indent=1) + "\n", encoding="utf-8")


def check() -> None:
    """Build twice in different folders; exit with 1 when the bytes differ."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        digests = []
        for folder in (one, two):
            path = Path(folder) / "guest.wasm"
            compile_guest(path)
            digests.append(digest(path.read_bytes()))
    print(*digests, sep="\n")  # noqa: T201 - a command line tool
    if digests[0] != digests[1]:
        sys.exit("the two builds differ")


def digest(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def inputs_digest() -> str:
    """Return what the output depends on, as one digest."""
    parts = [
        ENGINE_SHA256,
        COMPILER,
        *FLAGS,
        repr(PATCHES),
        *(digest((HERE / name).read_bytes()) for name in SOURCES),
    ]
    return digest("\n".join(parts).encode())


def read_lock() -> dict[str, str]:
    """Return what was recorded of the last build."""
    try:
        lock: dict[str, str] = json.loads(LOCK.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return lock


def cache_folder() -> Path:
    """Return where the engine's archive is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "cloche" / "sources"


def engine_archive() -> Path:
    """Return the engine's sources, fetched by the package installer if they are not there.

    Raises SystemExit when what is there has another digest.
    """
    archive = cache_folder() / ENGINE_ARCHIVE
    if not archive.exists() or digest(archive.read_bytes()) != ENGINE_SHA256:
        archive.parent.mkdir(parents=True, exist_ok=True)
        # An isolated build environment has no installer of its own; the machine's python has.
        python = sys.executable if importlib.util.find_spec("pip") else "python3"
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run(  # noqa: S603 - our own command
            [*command, "--dest", str(archive.parent), ENGINE], check=True, env=environment
        )
    found = digest(archive.read_bytes())
    if found != ENGINE_SHA256:
        sys.exit(
            f"{archive} has SHA-256 {found}, expected {ENGINE_SHA256}; remove it and try again"
        )
    return archive


def patch_engine(path: Path) -> None:
    """Apply `PATCHES`; each must match as often as it says, so that none is lost unseen."""
    text = path.read_text(encoding="utf-8")
    for pattern, replacement, count in COUNTING:
        text, found = re.subn(pattern, replacement, text)
        if found != count:
            sys.exit(f"{path.name}: expected {count} times, found {found}: {pattern}")
    for old, new, count in PATCHES:
        if text.count(old) != count:
            sys.exit(f"{path.name}: expected {count} times, found {text.count(old)}: {old!r}")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def compile_guest(output: Path) -> None:
    """Compile the guest to `output`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with tarfile.open(engine_archive()) as archive:
            archive.extractall(root, filter="data")
        sources = root / ENGINE_FOLDER
        patch_engine(sources / "quickjs.c")
        for name in SOURCES:
            (sources / name).write_bytes((HERE / name).read_bytes())
        built = root / "guest.wasm"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, f"-ffile-prefix-map={sources}=."]
        command += [SOURCES[0], *ENGINE_SOURCES, "-lm", "-lwasi-emulated-signal"]
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache_folder() / "zig")}
        environment["ZIG_LOCAL_CACHE_DIR"] = str(root / "zig")
        subprocess.run(  # noqa: S603 - our own command
            [*command, "-o", str(built)], check=True, cwd=sources, env=environment
        )
        temporary = output.with_suffix(".tmp")
        temporary.write_bytes(built.read_bytes())
        temporary.replace(output)


if __name__ == "__main__":
    main()
