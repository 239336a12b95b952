"""The house keeps its own rules, and each rule can catch what it forbids."""

from __future__ import annotations

import time
from dataclasses import dataclass

import house_rules as rules
import pytest
from house_rules import SourceFile
from naming_rules import PATTERNS, UNITS, WORDS, naming

FILES = rules.package_files()


@dataclass(frozen=True)
class Case:
    """A rule with a snippet that breaks it and one, often the same elsewhere, that does not."""

    rule: rules.Rule
    broken: SourceFile
    kept: SourceFile


LONG = "x = 1\n" * 401
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 80
ARGUMENTS = "a, b, *, c, d, e, f, g, h"

CASES = {
    "a room imports another": Case(
        rules.import_table,
        SourceFile("analysis/pca.py", "from dynaprobe.model.rnn import Network"),
        SourceFile("analysis/fixed_points.py", "from dynaprobe.model.rnn import Network"),
    ),
    "an import inside a function": Case(
        rules.import_table,
        SourceFile("recordings/nwb.py", "def f():\n    import dynaprobe.tasks.table"),
        SourceFile("recordings/nwb.py", "def f():\n    import dynaprobe.core.rates"),
    ),
    "a relative import": Case(
        rules.import_table,
        SourceFile("core/trials.py", "from ..tasks import base"),
        SourceFile("core/trials.py", "from . import rates\nfrom .errors import DynaprobeError"),
    ),
    "training sees more of tasks than the base": Case(
        rules.import_table,
        SourceFile("training/fit.py", "from dynaprobe.tasks import reach"),
        SourceFile("training/fit.py", "from dynaprobe.tasks.base import AbstractTask"),
    ),
    "report sees more of study than the records": Case(
        rules.import_table,
        SourceFile("report/html.py", "from dynaprobe.study.sweep import grid"),
        SourceFile("report/html.py", "from dynaprobe.study.records import Claim"),
    ),
    "one study imports another": Case(
        rules.import_table,
        SourceFile("studies/jarne2022.py", "from dynaprobe.studies.kao2019 import STUDY"),
        SourceFile("studies/jarne2022.py", "from dynaprobe.study.records import Claim"),
    ),
    "a study imports the table of studies": Case(
        rules.import_table,
        SourceFile("studies/jarne2022.py", "from dynaprobe.studies.table import STUDIES"),
        SourceFile("studies/table.py", "from dynaprobe.studies.kao2019 import STUDY"),
    ),
    "a room nobody planned": Case(
        rules.import_table, SourceFile("utils/helpers.py", ""), SourceFile("core/helpers.py", "")
    ),
    "the package imports a room": Case(
        rules.import_table,
        SourceFile("__init__.py", "from dynaprobe.core.rates import make_rates"),
        SourceFile("__init__.py", "from importlib.metadata import version"),
    ),
    "the command line imports early": Case(
        rules.cli_imports_late,
        SourceFile("cli/app.py", "from dynaprobe.study.store import Store"),
        SourceFile("cli/app.py", "def study():\n    from dynaprobe.study.store import Store"),
    ),
    "a plotting library": Case(
        rules.plotting,
        SourceFile("tasks/reach.py", "def f():\n    from matplotlib import pyplot as plt"),
        SourceFile("report/figures.py", "import plotly.graph_objects as go"),
    ),
    "a print": Case(
        rules.printing, SourceFile("training/fit.py", "print('loss')"), SourceFile("cli/app.py", "print('loss')")
    ),
    "a star": Case(
        rules.star_imports,
        SourceFile("core/rates.py", "from numpy import *"),
        SourceFile("core/rates.py", "x = 2 ** 3"),
    ),
    "a long file": Case(
        rules.file_length, SourceFile("core/rates.py", LONG), SourceFile("core/rates.py", LONG[len("x = 1\n") :])
    ),
    "a long function": Case(
        rules.function_length,
        SourceFile("core/rates.py", LONG_FUNCTION),
        SourceFile("core/rates.py", LONG_FUNCTION.removesuffix("    x = 1\n")),
    ),
    "nine arguments": Case(
        rules.argument_count,
        SourceFile("core/rates.py", f"def f({ARGUMENTS}, i): ..."),
        SourceFile("core/rates.py", f"class A:\n    def f(self, {ARGUMENTS}): ..."),
    ),
}

WRITING = (
    "open(path, 'w')",
    "open(path, mode='ab')",
    "path.open('w')",
    "path.write_text('x')",
    "path.write_bytes(b'x')",
    "data.to_netcdf(path)",
    "frame.to_csv(path)",
    "figure.savefig(path)",
    "np.save(path, x)",
    "np.savez_compressed(path, x=x)",
    "os.replace(a, b)",
    "path.replace(other)",
    "path.mkdir()",
    "json.dump(x, f)",
    "h5py.File(path, 'r+')",
    "NWBHDF5IO(path, mode='w')",
    "eqx.tree_serialise_leaves(path, tree)",
)
READING = (
    "open(path)",
    "path.open('r')",
    "h5py.File(path, 'r')",
    "text.replace('a', 'b')",
    "dataclasses.replace(record, name='x')",
    "rates.rename({'a': 'b'})",
    "rates.rename('weight')",
    "json.dumps(x)",
    "run.store.save(name, data)",
)
RANDOM = (
    "np.random.normal()",
    "np.random.seed(0)",
    "rng = np.random.default_rng(0)",
    "from numpy.random import default_rng",
    "import random",
    "from random import shuffle",
    "jax.random.PRNGKey(0)",
    "jax.random.key(0)",
    "scipy.stats.norm.rvs(3)",
)
NO_RANDOM = (
    "def f(rng: np.random.Generator): ...",
    "from dynaprobe.core.random import key",
    "jax.random.normal(key)",
    "scipy.stats.norm.rvs(3, random_state=rng)",
)
for line in WRITING:
    CASES[f"writing: {line}"] = Case(
        rules.writing, SourceFile("study/sweep.py", line), SourceFile("study/store.py", line)
    )
for line in READING:
    CASES[f"not writing: {line}"] = Case(
        rules.writing, SourceFile("recordings/nwb.py", WRITING[0]), SourceFile("recordings/nwb.py", line)
    )
for line in RANDOM:
    CASES[f"randomness: {line}"] = Case(
        rules.global_randomness, SourceFile("analysis/cca.py", line), SourceFile("core/random.py", line)
    )
for line in NO_RANDOM:
    CASES[f"no randomness: {line}"] = Case(
        rules.global_randomness, SourceFile("analysis/cca.py", RANDOM[0]), SourceFile("analysis/cca.py", line)
    )

RULES = sorted({case.rule for case in CASES.values()} | {naming}, key=lambda rule: rule.__name__)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule_and_checking_is_quick(rule: rules.Rule) -> None:
    for file in FILES:
        _ = file.nodes  # parsed once for all rules, by whichever comes first
    begin = time.process_time()
    broken = [line for file in FILES for line in rule(file)]
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_rule_catches_what_it_forbids_and_nothing_else(case: Case) -> None:
    assert case.rule(case.broken)
    assert case.rule(case.kept) == []


def test_no_file_imports_itself_round_a_circle() -> None:
    assert rules.cycles(FILES) == []


def test_a_circle_is_found() -> None:
    one = SourceFile("core/one.py", "from dynaprobe.core.two import f")
    two = SourceFile("core/two.py", "def f():\n    from dynaprobe.core import three")
    three = SourceFile("core/three.py", "import dynaprobe.core.one")
    assert rules.cycles([one, two, three]) == ["core.one -> core.two -> core.three -> core.one"]
    assert rules.cycles([one, two, SourceFile("core/three.py", "import dynaprobe")]) == []


def test_the_table_names_the_rooms_that_exist() -> None:
    assert {file.room for file in FILES} - {"__init__", "__main__"} <= set(rules.MAY_IMPORT)
    assert len(FILES) > 15  # an empty list would keep every rule


BAD_NAMES = {
    "n_neurons": "n_neurons = 3",
    "num_units": "def f(num_units): ...",
    "n_unit": "def f(n_unit): ...",
    "n_epochs": "class Fit:\n    n_epochs: int = 10",
    "epoch_loss": "epoch_loss = 0.1",
    "node": "for node in tree: ...",
    "GRUCell": "class GRUCell: ...",
    "hidden_size": "self.hidden_size = 3",
    "dt": "def f(dt): ...",
    "tau": "class Network:\n    tau: float",
    "delay_seconds": "def f(delay_seconds): ...",
    "activation_fn": "def f(activation_fn): ...",
    "w_hh": "w_hh = 1",
    "soft_normalize": "def soft_normalize(): ...",
    "cca_distance": "def cca_distance(): ...",
    "firing_rate": "firing_rate = 1",
}


@pytest.mark.parametrize(("name", "line"), BAD_NAMES.items(), ids=BAD_NAMES.keys())
def test_a_name_outside_the_glossary_is_caught(name: str, line: str) -> None:
    (said,) = naming(SourceFile("core/rates.py", line))
    assert f" {name}: say " in said


@pytest.mark.parametrize(
    "line",
    [
        "def f(n_units, dt_ms, tau_ms, *, reaction_time_ms): ...",
        "epoch = timeline.epoch('delay')",
        "alpha = dt_ms / tau_ms",
        "numbers = excellent = 1",  # holds num and cell, but not as words
        "minimise(nodes=3, num_epochs=2)",  # the names of others' arguments are theirs
        "def check_seconds(delays_s): ...",
        "tau = 3",  # inside a formula
    ],
)
def test_a_name_of_the_glossary_passes(line: str) -> None:
    assert naming(SourceFile("core/rates.py", line)) == []


def test_every_rule_about_names_says_what_to_write_instead() -> None:
    assert all(WORDS.values())
    assert all(PATTERNS.values())
    assert UNITS.search("tau")
    assert not UNITS.search("tau_ms")
