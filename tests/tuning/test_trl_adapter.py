"""The private names of TRL and transformers that training depends on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

for library in ("torch", "peft", "trl", "datasets"):
    pytest.importorskip(library, reason="needs the extra `train`")

from valuestrata.errors import RunFailedError  # noqa: E402
from valuestrata.tuning.train import trl_adapter  # noqa: E402

TRAIN = Path(trl_adapter.__file__).parent


def test_the_installed_libraries_have_every_name():
    trl_adapter.require_names(trl_adapter.SFTTrainer, trl_adapter.CLASS_NAMES)


@pytest.mark.parametrize("name", ["_save_checkpoint", "_send_telemetry", "_prepare_inputs"])
def test_a_renamed_method_is_reported_before_the_model_is_wrapped(monkeypatch, name):
    for kind in trl_adapter.SFTTrainer.__mro__:
        if name in vars(kind):
            monkeypatch.delattr(kind, name)
    with pytest.raises(RunFailedError, match=rf"needs SFTTrainer\.{name}, .*Install the tested versions: pip install trl==1\.16\.0"):
        trl_adapter.TrlTrainer(model=None)


def test_a_missing_attribute_of_an_object_is_reported():
    class Renamed:
        gpu_count = 1

    with pytest.raises(RunFailedError, match=r"needs Renamed\._n_gpu"):
        trl_adapter.use_one_gpu(Renamed())


@pytest.mark.parametrize("file", ["trainer.py", "step.py", "checkpoints.py"])
def test_private_names_of_the_libraries_are_used_nowhere_else(file):
    text = (TRAIN / file).read_text()
    used = set(re.findall(r"(?:\w+|\))\.(_[a-z]\w*)", re.sub(r"\bself\._\w+(?!\()", "", text)))
    assert not used & {*trl_adapter.CLASS_NAMES, "_metrics", "_n_gpu", "_attn_implementation", "_tied_weights_keys"}
