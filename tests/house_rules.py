"""The rules of the house, each a function from one parsed file to the list of what breaks it.

Nothing is imported from the package: files are read as text, so that a rule also sees imports inside functions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "dynaprobe"
SOURCES = Path(__file__).resolve().parents[1] / "src" / PACKAGE

# Which modules a room may import besides its own; a name stands for itself and everything below it.
_MACHINERY = ("core", "tasks", "recordings", "model", "training", "analysis")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": (),
    "tasks": ("core",),
    "recordings": ("core",),
    "model": ("core",),
    "training": ("core", "tasks.base", "model"),
    "analysis": ("core",),
    "study": _MACHINERY,
    "studies": (*_MACHINERY, "study"),
    "report": (
        "core",
        "analysis",
        "study.records",
        "study.store",
    ),  # reads runs and writes files as the store does
    "viewer": ("core", "report", "model", "analysis"),
    "cli": (*_MACHINERY, "study", "studies", "report", "viewer"),
}
# Analyses of a network itself, not of its rates.
MAY_IMPORT_MODEL = (
    "analysis/fixed_points.py",
    "analysis/fixed_point_search/",
    "analysis/linearise.py",
    "analysis/probes/",
)

PLOTTING = ("matplotlib", "plotly", "seaborn", "bokeh", "altair")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS = 400, 80, 8


@dataclass(frozen=True)
class SourceFile:
    """One file of the package: where it stands, relative to the package, and what it says."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @property
    def room(self) -> str:
        """The folder."""
        return self.path.split("/")[0].removesuffix(".py")

    @property
    def module(self) -> str:
        """Dotted name below the package, ``""`` for the package itself."""
        return self.path.removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".")

    def imports(self) -> Iterator[tuple[str, ast.stmt]]:
        """Every imported dotted name with its statement; ``from a import b`` counts as ``a.b``."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((alias.name, node) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    inside = (PACKAGE, *self.path.split("/"))[: -node.level]
                    base = ".".join((*inside, base)).rstrip(".")
                yield from ((f"{base}.{alias.name}", node) for alias in node.names)

    def own_imports(self) -> Iterator[tuple[str, ast.stmt]]:
        """Imports from the package, without its name."""
        for name, node in self.imports():
            if name.split(".")[0] == PACKAGE:
                yield name.removeprefix(PACKAGE).lstrip("."), node


def package_files() -> tuple[SourceFile, ...]:
    """All files of the package."""
    return tuple(
        SourceFile(path.relative_to(SOURCES).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(SOURCES.rglob("*.py"))
    )


def _below(name: str, tops: Iterable[str]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def _dotted(node: ast.AST) -> str:
    """``np.random.normal`` for the expression that says so; what is not a name becomes ``?``."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"


def _calls(file: SourceFile) -> Iterator[tuple[str, ast.Call]]:
    for node in file.nodes:
        if isinstance(node, ast.Call):
            yield _dotted(node.func), node


def import_table(file: SourceFile) -> list[str]:
    """A room imports itself and the rooms its row names; studies never import one another."""
    if file.module == "":
        return [f"{file.path}:{node.lineno} imports {name}" for name, node in file.own_imports()]
    allowed = MAY_IMPORT.get(file.room)
    if allowed is None:
        return [f"{file.path} stands in no room of the table"]
    if file.path.startswith(MAY_IMPORT_MODEL):
        allowed = (*allowed, "model")
    own = (file.room,)
    if file.room == "studies" and file.path not in ("studies/table.py", "studies/__init__.py"):
        # The table of studies lists them all; a study, which may be a folder, knows no other.
        own = ("studies." + file.path.split("/")[1],) if file.path.count("/") > 1 else ()
    return [
        f"{file.path}:{node.lineno} imports {name or PACKAGE}"
        for name, node in file.own_imports()
        if name != "__version__" and not _below(name, (*allowed, *own))
    ]


def cli_imports_late(file: SourceFile) -> list[str]:
    """The commands import the rooms inside their functions, so that ``--help`` answers at once."""
    if file.path not in ("cli/app.py", "cli/console.py", "cli/probe.py", "cli/sweeps.py"):
        return []
    return [
        f"{file.path}:{node.lineno} imports {name} before it is needed"
        for name, node in file.own_imports()
        if node in file.tree.body and name != "__version__" and not _below(name, ("core", "cli"))
    ]


def plotting(file: SourceFile) -> list[str]:
    """Plotting libraries are for report/ and viewer/ alone."""
    if file.room in ("report", "viewer"):
        return []
    return [f"{file.path}:{n.lineno} imports {name}" for name, n in file.imports() if _below(name, PLOTTING)]


def printing(file: SourceFile) -> list[str]:
    """Only the command line speaks to the terminal."""
    if file.room == "cli":
        return []
    said = (
        "print",
        "pprint",
        "pprint.pprint",
        "rich.print",
        "sys.stdout.write",
        "sys.stderr.write",
        "warnings.warn",
    )
    return [f"{file.path}:{call.lineno} calls {name}" for name, call in _calls(file) if name in said]


# Methods and functions that write, whatever they hang on ...
_WRITERS = {"write_text", "write_bytes", "write_html", "write_image", "savefig", "touch", "unlink", "rmtree"}
_WRITERS |= {"to_netcdf", "to_csv", "to_zarr", "to_parquet", "to_pickle", "to_hdf", "to_excel", "tofile", "dump"}
_WRITERS |= {"savez", "savez_compressed", "savetxt", "tree_serialise_leaves", "mkdir", "makedirs"}
_WRITERS |= {"symlink_to", "hardlink_to", "mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryDirectory"}
# ... and those that write only in these modules, because the same word means something else elsewhere.
_WRITERS_OF = {
    "os": {"replace", "rename", "remove", "rmdir", "link", "symlink", "truncate"},
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move"},
}
_OPENERS = {"open", "File", "NWBHDF5IO", "ZipFile", "TarFile", "Dataset"}


def _writes(name: str, call: ast.Call) -> bool:
    *owner, last = name.split(".")
    # Handing something to the store is not writing: the store writes.
    if last == "save" and not (owner and owner[-1].endswith("store")):
        return True
    if last in _WRITERS or last in _WRITERS_OF.get(".".join(owner), ()):
        return True
    if last in _OPENERS:
        said = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
        modes = [a.value for a in said if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return any(len(mode) <= 3 and set(mode) & set("wax+") for mode in modes)
    # str.replace takes two arguments, dataclasses.replace keywords: with one argument it is Path.replace.
    return last in ("replace", "rename") and bool(owner) and len(call.args) == 1 and not _changes_names(call)


def _changes_names(call: ast.Call) -> bool:
    """Whether this ``replace`` or ``rename`` is one of a record or of an xarray object, not of a file."""
    first = call.args[0]
    return bool(call.keywords) or isinstance(first, ast.Dict | ast.Constant)


def writing(file: SourceFile) -> list[str]:
    """Files are written by study/store*.py, by exporters of recordings and by report/."""
    name = file.path.rsplit("/", 1)[-1]
    if file.room == "report" or (file.room == "study" and name.startswith("store")):
        return []
    if file.room == "recordings" and name == "export.py":
        return []
    return [f"{file.path}:{call.lineno} writes with {name}" for name, call in _calls(file) if _writes(name, call)]


_RANDOM_TYPES = ("Generator", "SeedSequence", "BitGenerator")
_SEEDERS = ("jax.random.key", "jax.random.PRNGKey", "jr.key", "jr.PRNGKey")


def global_randomness(file: SourceFile) -> list[str]:
    """Every draw comes from a stream of core/random.py: no global state, no other source of streams."""
    if file.path == "core/random.py":
        return []
    bad = [
        f"{file.path}:{node.lineno} imports {name}" for name, node in file.imports() if _below(name, ("random",))
    ]
    for name, node in file.imports():
        if name.startswith("numpy.random.") and not name.endswith(_RANDOM_TYPES):
            bad.append(f"{file.path}:{node.lineno} imports {name}")
    for node in file.nodes:
        name = _dotted(node)
        if name.startswith(("np.random.", "numpy.random.")) and name.split(".")[2] not in _RANDOM_TYPES:
            bad.append(f"{file.path}:{node.lineno} uses {name}")  # type: ignore[attr-defined]
    for name, call in _calls(file):
        unseeded = name.endswith(".rvs") and not any(k.arg == "random_state" for k in call.keywords)
        if name in _SEEDERS or unseeded:
            bad.append(f"{file.path}:{call.lineno} calls {name}")
    return bad


def star_imports(file: SourceFile) -> list[str]:
    """Every imported name is written out."""
    return [f"{file.path}:{node.lineno} imports {name}" for name, node in file.imports() if name.endswith(".*")]


def file_length(file: SourceFile) -> list[str]:
    """A file fits into a head: at most `MAX_FILE_LINES` lines."""
    n_lines = len(file.text.splitlines())
    return [f"{file.path} has {n_lines} lines"] if n_lines > MAX_FILE_LINES else []


def _functions(file: SourceFile) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in file.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def function_length(file: SourceFile) -> list[str]:
    """A function, docstring and all, has at most `MAX_FUNCTION_LINES` lines."""
    return [
        f"{file.path}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in _functions(file)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]


def argument_count(file: SourceFile) -> list[str]:
    """A function has at most `MAX_ARGUMENTS` arguments; options of a command are not arguments of a function."""
    if file.room == "cli":
        return []
    bad = []
    for node in _functions(file):
        named = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        n_arguments = len(named) - (named[:1] in (["self"], ["cls"]))
        if n_arguments > MAX_ARGUMENTS:
            bad.append(f"{file.path}:{node.lineno} {node.name} has {n_arguments} arguments")
    return bad


def cycles(files: Iterable[SourceFile]) -> list[str]:
    """Circles of files that import one another, each as the path once round."""
    files = tuple(files)
    known = {file.module for file in files}
    edges: dict[str, set[str]] = {}
    for file in files:
        wanted = {name if name in known else name.rpartition(".")[0] for name, _ in file.own_imports()}
        # The package itself is what gives the version: that is no door between rooms.
        edges[file.module] = {name for name in wanted if name in known and name not in ("", file.module)}
    found: list[str] = []
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            found.append(" -> ".join((*path[path.index(module) :], module)))
        elif module not in finished:
            for following in sorted(edges[module]):
                visit(following, (*path, module))
            finished.add(module)

    for module in sorted(edges):
        visit(module, ())
    return found


Rule = Callable[[SourceFile], list[str]]
