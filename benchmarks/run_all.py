"""Runs every benchmark of this folder and writes what they print into benchmarks/README.md.

    python benchmarks/run_all.py [--small] [--only NAME ...]

Machines are shared and noisy: the ratio to the baseline in the same table is what counts.
"""

import argparse
import ast
import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
HEADER = """# Benchmarks

Written by `make bench` (`python benchmarks/run_all.py`). Machines are shared and noisy: quote the ratios to the
baseline in the same table. Each script takes `--json FILE` for its figures and `--small` for a quick run.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="quick runs, printed only")
    parser.add_argument("--only", nargs="*", default=[], help="names of scripts, without .py")
    args = parser.parse_args()
    target = FOLDER / "README.md"
    kept = _sections(target.read_text()) if target.exists() else {}
    failed = []
    for script in sorted(FOLDER.glob("*.py")):
        is_benchmark = 'if __name__ == "__main__"' in script.read_text() and script.stem != Path(__file__).stem
        if not is_benchmark or (args.only and script.stem not in args.only):
            continue
        print(f"== {script.name}", flush=True)
        section, ok = _run(script, args.small)
        if not ok:
            failed.append(script.stem)
        elif not args.small:  # at once: all of them take an hour, and may be cut off
            kept[script.stem] = section
            sections = (kept[name] for name in sorted(kept) if (FOLDER / f"{name}.py").exists())
            target.write_text(HEADER + "".join(sections))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(script: Path, small: bool) -> tuple[str, bool]:
    """Run one benchmark; return its section of the README and whether it succeeded."""
    command = [sys.executable, str(script), *(["--small"] if small else [])]
    environment = os.environ | {"COLUMNS": "118", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr, flush=True)
        return "", False
    about = (ast.get_docstring(ast.parse(script.read_text())) or "").split("\n\n")[0].replace("\n", " ")
    lines = "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())
    head = f"## {script.stem}\n\n{about}\n\n    python benchmarks/{script.name}\n\n{_machine()}"
    return f"{head}\n\n```text\n{lines}\n```\n\n", True


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}."


def _sections(text: str) -> dict[str, str]:
    """Return the sections of an earlier README by name, so that `--only` replaces its own."""
    parts = text.split("\n## ")[1:]
    return {part.split("\n", 1)[0]: "## " + part.rstrip("\n") + "\n\n" for part in parts}


if __name__ == "__main__":
    sys.exit(main())
