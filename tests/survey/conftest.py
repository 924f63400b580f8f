import importlib.util
import sys
from pathlib import Path

import pytest

from tests.survey.small_files import CODEBOOK


@pytest.fixture(scope="session")
def wvs_files():
    """The module that writes test files. It is loaded by path, because tests are not importable as packages."""
    where = Path(__file__).with_name("wvs_files.py")
    spec = importlib.util.spec_from_file_location("wvs_files", where)
    module = importlib.util.module_from_spec(spec)
    sys.modules["wvs_files"] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    if not module.FACTS.is_file():
        pytest.skip(f"the WVS reference file {module.FACTS.name} is absent")
    return module


@pytest.fixture(scope="session")
def people(wvs_files):
    return wvs_files.population()


@pytest.fixture(scope="session")
def written(wvs_files, people, tmp_path_factory):
    """Files of the same population in every format."""
    return wvs_files.write_all(people, tmp_path_factory.mktemp("wvs"))


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(CODEBOOK)
    return path
