"""Rules of the house that no single module can keep: who may import whom, what is never called, what
is shipped, and how large a file may grow."""

import ast
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import engine
from engine import checkpoint
from engine.files import MANIFEST
from engine.latent import LatentMethod

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "assets"
LINES = 400                       # of a source file
SHIPPED = 48 * 2**20              # bytes of all tracked files
MODEL = 8 * 2**20                 # bytes of a model folder
DIFFUSION = 15 * 2**20            # of one that holds a diffusion model


def sources(*folders: str) -> list[str]:
    """Python files under folders of the repository, as paths relative to it."""
    return sorted(p.relative_to(ROOT).as_posix() for f in folders for p in (ROOT / f).rglob("*.py"))


PRODUCT = [*sources("app", "engine"), "app.py"]
EVERYTHING = [*PRODUCT, *sources("benchmarks")]


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def imports(path: str) -> Iterator[tuple[str, str | None]]:
    """(module, name) for every import anywhere in a file; name is None for `import module`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = Path(path).parent.parts
            base = ".".join(package[:len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((module, alias.name) for alias in node.names)


def imported(path: str) -> set[str]:
    """Every module a file may be importing: `from a import b` may mean a.b."""
    return {name for module, attribute in imports(path) for name in (module, f"{module}.{attribute}")}


def within(name: str, *packages: str) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in packages)


# ------------------------------------------------------------------------------------------------
# Who may import whom

def test_the_files_are_found():
    assert {"app/main.py", "engine/serve.py", "engine/data/faces.py", "engine/methods/vae.py"} <= set(PRODUCT)
    assert within("gradio.themes", "gradio") and not within("gradio_client", "gradio")
    assert "engine.data.faces" in imported("engine/data/__init__.py")  # also what a function imports


@pytest.mark.parametrize("path", sources("engine"))
def test_the_engine_knows_no_page(path):
    known = {n for n in imported(path) if within(n, "gradio", "gradio_client", "fastapi", "starlette", "app")}
    assert not known


@pytest.mark.parametrize("path", [*sources("app"), "app.py"])
def test_the_page_knows_the_public_engine_only(path):
    for module, name in imports(path):
        if within(module, "engine"):
            assert module == "engine" and name in engine.__all__, f"{module}.{name}"


def test_all_that_is_public_is_there():
    assert all(hasattr(engine, name) for name in engine.__all__)
    assert set(engine.__all__) == {name for _, name in imports("engine/__init__.py")}


@pytest.mark.parametrize("path", sources("engine/data"))
def test_data_sets_know_no_method_and_no_server(path):
    above = ("methods", "method", "nets", "train", "serve", "export", "checkpoint", "factors")
    assert not {n for n in imported(path) if within(n, *(f"engine.{name}" for name in above))}


@pytest.mark.parametrize("path", sources("engine/methods"))
def test_methods_know_no_data_and_no_server(path):
    assert not {n for n in imported(path) if within(n, "engine.data", "engine.train", "engine.serve", "engine.export")}


def test_the_page_starts_without_what_only_building_needs():
    heavy = ["sklearn", "umap", "av", "scipy", "h5py", "tyro", "engine.train", "engine.export"]
    program = (
        "import sys, app.main\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------
# What is never called

UNPICKLERS = ("pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "torch.package")
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"torch.load", "torch.export.load", "torch.jit.load", "torch.hub.load", "pandas.read_pickle"}


def dotted(node: ast.expr) -> str:
    """a.b.c for an expression that says so; '' otherwise."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner else ""


def dangers(module: ast.Module, names: set[str]) -> list[str]:
    """Ways of running what a file contains, in a syntax tree whose imports are `names`."""
    found = [n for n in names if within(n, *UNPICKLERS) or n in LOADERS]
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in CALLS or name.removeprefix("builtins.") in CALLS:
                found.append(name)
        if isinstance(node, ast.Attribute) and dotted(node) in LOADERS:
            found.append(dotted(node))
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                found.append("allow_pickle")
        if isinstance(node, ast.keyword) and node.arg == "weights_only":
            found.append("weights_only")  # only torch.load has it
    return found


@pytest.mark.parametrize("path", EVERYTHING)
def test_nothing_is_unpickled_or_evaluated(path):
    assert dangers(tree(path), imported(path)) == []


@pytest.mark.parametrize("text", [
    "eval('1')", "exec(x)", "__import__('os')", "torch.load(f)", "loader = torch.load", "torch.export.load(f)",
    "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=yes)", "builtins.exec(x)",
])
def test_the_search_finds_what_it_seeks(text):
    assert dangers(ast.parse(text), set())


def test_the_search_finds_nothing_else():
    harmless = "np.load(f, allow_pickle=False); model.eval(); re.compile(x); torch.compile(f)"
    assert not dangers(ast.parse(harmless), {"numpy.load", "torch.export"})
    assert dangers(ast.parse(""), {"pickle"}) and dangers(ast.parse(""), {"torch.load"})


# ------------------------------------------------------------------------------------------------
# How files are written

@pytest.mark.parametrize("path", PRODUCT)
def test_files_are_short_and_say_what_they_are(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    assert ast.get_docstring(tree(path))


def public(node: ast.AST, inherited: bool = False) -> Iterator[tuple[ast.FunctionDef | ast.ClassDef, bool]]:
    """Public functions and classes under a module or class; with each, whether a base class may have
    said already what it does."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield child, inherited
            if isinstance(child, ast.ClassDef):
                yield from public(child, bool(child.bases))


@pytest.mark.parametrize("path", PRODUCT)
def test_public_functions_are_documented_and_typed(path):
    silent, untyped = [], []
    for node, inherited in public(tree(path)):
        if not ast.get_docstring(node) and not inherited:
            silent.append(node.name)
        if not isinstance(node, ast.ClassDef) and node.returns is None:
            untyped.append(node.name)
    assert (silent, untyped) == ([], [])


def tracked() -> list[Path]:
    """The files of the repository that exist in this copy of it."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git repository")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_work_is_left_for_later():
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
    suffixes = {".py", ".js", ".css", ".md", ".toml", ".yml", ".yaml", ".svg"}
    left = [p.relative_to(ROOT).as_posix() for p in tracked()
            if p.suffix in suffixes and marks.search(p.read_text(encoding="utf-8"))]
    assert left == []


# ------------------------------------------------------------------------------------------------
# What is shipped

def shipped_folders() -> list[Path]:
    """Every folder of assets/ that holds files."""
    return sorted({p.parent for p in ASSETS.rglob("*") if p.is_file()})


def model_folders() -> list[Path]:
    return sorted(p for p in (ASSETS / "models").glob("*") if p.is_dir())


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_are_assets():
    assert ASSETS / "data" in shipped_folders()


@pytest.mark.parametrize("folder", shipped_folders(), ids=named)
def test_a_manifest_covers_every_byte_shipped(folder):
    listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    files = {p.name: p for p in folder.iterdir() if p.is_file() and p.name != MANIFEST}
    assert listed.keys() == files.keys()
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert not list(folder.glob("*.partial"))


def test_what_is_shipped_stays_small():
    assert 0 < sum(path.stat().st_size for path in tracked()) < SHIPPED


@pytest.mark.parametrize("folder", model_folders(), ids=named)
def test_a_shipped_model_is_small_and_loads(folder):
    loaded, table, config = checkpoint.load(folder)
    limit = DIFFUSION if isinstance(loaded, LatentMethod) else MODEL
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < limit
    assert loaded.code_size == len(config["mean"]) and any(factor.rank >= 0 for factor in table)
