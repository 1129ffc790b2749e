"""What the measuring scripts import is there, although some of them are named as packages of the tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

FIND = """
import ast, importlib.util, pathlib, sys
for script in pathlib.Path(sys.argv[1]).glob("*.py"):
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        module = getattr(node, "module", None) if isinstance(node, ast.ImportFrom) else None
        if module is None or "." not in module or module.startswith(("sallyport.", "mitmproxy.")):
            continue
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            print(script.name, module)
"""


def test_every_package_that_a_benchmark_imports_from_is_found() -> None:
    folders = [ROOT / "tests", ROOT / "scripts" / "benchmarks"]
    run = [sys.executable, "-P", "-c", FIND, str(folders[1])]
    path = ":".join(map(str, folders))
    done = subprocess.run(run, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
