"""What the Python tests share: an installed kernel that leaves the user's files alone."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def codriver_binary():
    """`CODRIVER`, as `cargo xtask test` sets it, or what `cargo xtask build` left."""
    if path := os.environ.get("CODRIVER"):
        return pathlib.Path(path)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "codriver"


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Environment variables under which Jupyter finds the kernel, installed in a prefix of its own."""
    folder = tmp_path_factory.mktemp("codriver")
    data = folder / "data"
    data.mkdir()
    variables = {"CODRIVER_DATA_DIR": str(data), "JUPYTER_PATH": str(folder / "prefix" / "share" / "jupyter")}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    subprocess.run([codriver_binary(), "install", "--prefix", folder / "prefix"], check=True)
    yield {**os.environ}
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
