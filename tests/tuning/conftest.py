"""One planted data set, a short template, a tiny model and one trained adapter per family of objectives."""

from __future__ import annotations

import pytest

from tests.tuning.planted import planted, quick, short_template, tiny_folder

# Three families: the written answer, the options' probabilities, and preferences.
FAMILIES = ("modal", "distribution", "dpo")
# Settings of the shared adapters: two passes per update, a checkpoint and an evaluation after 5 of 10 updates.
SHARED = {"max_steps": 10, "accumulation": 2, "validation.every": 1}


@pytest.fixture(scope="session")
def people():
    """The planted data set; it is never changed."""
    return planted()


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Path of a template of few tokens."""
    return short_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Specification of a tiny model on disk."""
    for library in ("torch", "transformers"):
        pytest.importorskip(library, reason="needs the extra `local`")
    return tiny_folder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def trained(people, template, model, tmp_path_factory):
    """Return the result of training a recipe with the settings SHARED, once per session; nobody may change its folder."""
    for library in ("peft", "trl", "datasets"):
        pytest.importorskip(library, reason="needs the extra `train`")
    from valuestrata.tuning.tune import tune

    folder, results = tmp_path_factory.mktemp("adapters"), {}

    def result(name):
        if name not in results:
            results[name] = tune(people, model, folder / name, recipe=quick(name, template, **SHARED))
        return results[name]

    return result


@pytest.fixture
def one_thread():
    """Passes of tiny models spend most of their time on starting threads."""
    torch = pytest.importorskip("torch", reason="needs the extra `local`")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
