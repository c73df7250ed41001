"""The public names mean the same whatever was imported before: some of them are names of submodules, too."""

from __future__ import annotations

import subprocess
import sys

import pytest

import joulemark

CALL = {
    "benchmark": "joulemark.benchmark('quik')",  # did you mean 'quick'
    "workload": "joulemark.workload(torch.nn.Linear(2, 3), torch.zeros(1, 2)).macs_per_input",
    "Net": "joulemark.Net.new('lenet', (1, 28, 28), seed=0)",
    "Range": "joulemark.Range(0.0, 1.0)",
    "TechniqueError": "joulemark.TechniqueError('no')",
    "Workbench": "joulemark.Workbench.__name__",
    "audit": "joulemark.audit.__name__",
    "channel_groups": "joulemark.channel_groups(torch.nn.Linear(2, 3), input_shape=(2,))",
    "custom_task": "joulemark.custom_task.__name__",
    "energy_model": "joulemark.energy_model('row-stationary')",
    "measure": "joulemark.measure()",
    "keep_channels": "joulemark.keep_channels(torch.nn.Linear(2, 3), {}, [])",
    "profile": "joulemark.profile(torch.nn.Linear(2, 3), shape=(2,))",
    "register": "joulemark.register('builder', 'user/mine', 'net', module='mine')",
    "technique": "joulemark.technique('x', paper='p', family='f')",
}
IMPORTS = [
    "",
    "import joulemark.testing, joulemark.workloads.recording",
    "import joulemark.benchmarking.run as run; assert run.run_free",
    "import joulemark.energy, joulemark.nets, joulemark.techniques, joulemark.meters",
]


def python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_tried():
    assert set(CALL) == set(joulemark.__all__)


@pytest.mark.parametrize("first", IMPORTS)
def test_every_public_name_works_twice_whatever_was_imported(first):
    calls = "".join(
        f"for _ in range(2):\n"
        f"    try:\n        {call}\n    except ValueError as error:\n        assert 'quick' in str(error)\n"
        f"assert joulemark.{name} is joulemark.{name}\n"
        for name, call in CALL.items()
    )
    python(f"import torch, joulemark\n{first}\n{calls}")


def test_modules_of_these_names_are_still_reached():
    python(
        "import joulemark\nfrom joulemark import benchmark, workload\n"
        "import joulemark.benchmarking.run, joulemark.workloads.recording\n"
        "assert joulemark.benchmarking.run.run_free and joulemark.workloads.recording.record\n"
        "assert callable(benchmark) and callable(workload)\n"
    )


def test_the_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert joulemark.__version__ == version("joulemark")
    python("import sys, joulemark; assert 'importlib.metadata' not in sys.modules; assert joulemark.__version__")
