"""A packed batch gives each example the probabilities, logits and gradients that it has alone."""

from __future__ import annotations

import math

import pytest

from tests.respondents import tiny
from tests.tuning.planted import quick, word_tokenizer

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.attention import attention_inputs, segment_bounds, visible_keys  # noqa: E402
from valuestrata.respondents.local.load import Loaded  # noqa: E402
from valuestrata.respondents.local.respondent import LocalRespondent  # noqa: E402
from valuestrata.tuning.data.encode import Encoder  # noqa: E402
from valuestrata.tuning.data.examples import tuning_data  # noqa: E402
from valuestrata.tuning.train import objectives  # noqa: E402
from valuestrata.tuning.train.batch import ANSWER, END, PREFILL  # noqa: E402
from valuestrata.tuning.train.layout import attention_of, best_layout  # noqa: E402
from valuestrata.tuning.train.readout import read_out  # noqa: E402
from valuestrata.tuning.train.step import Collator  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("one_thread"),
]

LAYOUTS = ("segments", "mask", "rows")


def batch_of(people, template, tokenizer, layout, *, target="option", numbers=range(0, 38, 5), every=True, **changes):
    recipe = quick("modal", template, target=target, **changes)
    data = tuning_data(people, recipe)
    encoder = Encoder(tokenizer, "tiny", target)
    encoded = {number: encoder.encode(data.train[number]) for number in numbers}
    return data.train, encoded, Collator(data.train, encoded, recipe, rows=layout == "rows")(list(numbers), every_option=every)


@pytest.fixture(params=["no merges", "ten", "border"])
def tokenizer(request):
    merges = {"no merges": (), "ten": [(" ", "1"), ("1", "2")], "border": [(":", " ")]}[request.param]
    return tiny.tiny_tokenizer(merges) if request.param == "no merges" else with_text(tiny.tiny_tokenizer(merges))


def with_text(tokenizer):
    from tokenizers import decoders

    tokenizer.backend_tokenizer.decoder = decoders.Fuse()
    return tokenizer


@pytest.mark.parametrize("layout", LAYOUTS)
def test_options_have_the_probabilities_that_the_readout_gives(people, template, tokenizer, layout):
    model = tiny.tiny_model(with_text(tokenizer))
    examples, _, batch = batch_of(people, template, tokenizer, layout, orders="reversed")
    with torch.no_grad(), attention_of(model, layout):
        out = read_out(model, batch, layout)
    respondent = LocalRespondent("hf:tiny", Loaded(model, tokenizer, {"model": "tiny"}))
    prompts = [examples[number].prompt for number in batch["example"].tolist()]
    answers = {answer.prompt.pair_id: answer for answer in respondent.answer(prompts)}
    for row, number in enumerate(batch["example"].tolist()):
        example = examples[number]
        answer = answers[example.prompt.pair_id]
        shown = [example.codes.index(code) for code in example.prompt.shown]
        assert out.logp[row].exp()[out.there[row]].sum().item() == pytest.approx(answer.option_mass, rel=1e-3)
        among = objectives.normalised(out.logp, out.there)[row].exp()
        assert among[shown].tolist() == pytest.approx(answer.option_probs, rel=1e-3)


def alone(model, ids):
    return model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)


@pytest.mark.parametrize("target", ["turn", "option"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_target_tokens_and_gradients_are_those_of_each_example_alone(people, template, layout, target):
    tokenizer = word_tokenizer()
    model = tiny.tiny_model(tokenizer)
    examples, encoded, batch = batch_of(people, template, tokenizer, layout, target=target, every=False)
    with attention_of(model, layout):
        out = read_out(model, batch, layout)
        out.token_loss.sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    losses, of_kind = [], {"prefill": [], "answer": [], "end": []}
    for number in batch["example"].tolist():
        one = encoded[number]
        ids = one.written(examples[number].mode)
        logs = alone(model, ids)
        taken = [-logs[at - 1, ids[at]] for at in range(one.start, len(ids))]
        losses.append(sum(taken) / len(taken))
        parts = {"prefill": taken[: len(one.stem) - one.start], "answer": taken[len(one.stem) - one.start : -1], "end": taken[-1:]}
        for name, values in parts.items():
            of_kind[name].append(sum(value.item() for value in values) / max(1, len(values)))
    sum(losses).backward()
    assert out.token_loss.tolist() == pytest.approx([loss.item() for loss in losses], rel=1e-4)
    for name, values in out.kind_loss.items():
        assert values.tolist() == pytest.approx(of_kind[name], rel=1e-4)
    assert ("prefill" in out.kind_loss) == (target == "turn")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-4 * parameter.grad.abs().max().item())


def test_shared_beginnings_are_there_once_and_logits_only_where_they_are_read(people, template):
    tokenizer = word_tokenizer()
    _, encoded, tree = batch_of(people, template, tokenizer, "mask", numbers=range(12))
    stems = [encoded[number].stem for number in tree["example"].tolist()]
    prefixes = {stem[: length + 1] for stem in stems for length in range(len(stem))}
    forms = {
        (*one.stem, *form[: length + 1])
        for one in encoded.values()
        for option in one.options
        for form in option
        for length in range(len(form) - 1)
    }
    assert tree["input_ids"].shape == (1, len(prefixes) + len(forms))
    assert len(prefixes) < 0.85 * sum(map(len, stems))
    # Logits: after each stem, and after each token of a form but the last.
    assert len(tree["read"]) == len(set(stems)) + len(forms)
    kinds = tree["target_kind"].tolist()
    assert PREFILL not in kinds
    assert kinds.count(END) == len(stems)
    assert kinds.count(ANSWER) == 2 * len(stems)


def test_only_what_an_objective_reads_is_laid_out(people, template):
    tokenizer = word_tokenizer()
    sizes = {}
    for name in ("modal", "dpo", "distribution"):
        recipe = quick(name, template)
        data = tuning_data(people, recipe)
        encoder = Encoder(tokenizer, "tiny", "option")
        encoded = {number: encoder.encode(data.train[number]) for number in range(8)}
        batch = Collator(data.train, encoded, recipe, rows=False)(range(8), every_option=False)
        sizes[name] = (batch["input_ids"].shape[1], batch["there"].sum(1).tolist())
    assert sizes["modal"][1] == [1] * 8
    assert sizes["dpo"][1] == [2] * 8
    assert set(sizes["distribution"][1]) == {3, 4}
    assert sizes["modal"][0] < sizes["dpo"][0] < sizes["distribution"][0]


def test_segments_cover_a_tree_and_compute_few_products(people, template):
    _, _, batch = batch_of(people, template, word_tokenizer(), "segments")
    parents = batch["parents"].tolist()
    visible = visible_keys(parents)
    for node, parent in enumerate(parents):
        assert visible[node].sum() == (1 if parent < 0 else visible[parent].sum() + 1)
    bounds = segment_bounds(parents, shortest=24, longest=192)
    segments = attention_inputs(visible, bounds, torch.float32, "cpu")["tree_segments"]
    assert [segment.begin for segment in segments] == [0, *(segment.end for segment in segments[:-1])]
    assert segments[-1].end == len(parents)
    for segment in segments:
        whole = visible[segment.begin : segment.end].copy()
        whole[:, segment.keys] &= segment.mask.numpy() != 0
        assert not whole.any()
    assert sum(segment.mask.numel() for segment in segments) < 0.6 * len(parents) ** 2


@pytest.mark.parametrize(
    ("kind", "settings", "longest", "layout"),
    [
        ("llama", {}, 500, "segments"),
        ("llama", {"attn_implementation": "eager"}, 500, "mask"),
        ("mistral", {"sliding_window": 64}, 30, "segments"),
        ("mistral", {"sliding_window": 64}, 64, "rows"),
        ("gpt2", {}, 500, "segments"),
        ("bloom", {}, 500, "rows"),
        ("mamba", {}, 500, "rows"),
    ],
)
def test_a_model_is_packed_only_where_that_is_right(kind, settings, longest, layout):
    tokenizer = tiny.tiny_tokenizer()
    model = tiny.tiny_model(tokenizer, kind, **settings)
    assert best_layout(model, longest) == layout
    assert not model.training


def test_rows_train_what_a_tree_does_not_fit(people, template):
    tokenizer = word_tokenizer()
    model = tiny.tiny_model(tokenizer, "mamba")
    examples, encoded, batch = batch_of(people, template, tokenizer, "rows", target="turn", numbers=(0, 7, 30))
    with torch.no_grad():
        out = read_out(model, batch, "rows")
        for row, number in enumerate((0, 7, 30)):
            for place, forms in enumerate(encoded[number].options):
                total = 0.0
                for form in forms:
                    ids = (*encoded[number].stem, *form)
                    logs = alone(model, ids)
                    total += math.exp(sum(logs[at - 1, ids[at]].item() for at in range(len(encoded[number].stem), len(ids))))
                assert out.logp[row, place].exp().item() == pytest.approx(total, rel=1e-3)
    assert examples[0].codes == (1, 2, 3)
