"""Token trees: building them, and running them in slices, in segments and as rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.attention import (  # noqa: E402
    attention_inputs,
    segment_attention,
    segment_bounds,
    supports_segments,
    visible_keys,
)
from valuestrata.respondents.local.runner import RunnerChoice, TreeRunner, choose_runner  # noqa: E402
from valuestrata.respondents.local.score import Scorer  # noqa: E402
from valuestrata.respondents.local.tree import TokenTree  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]

sequences_of_few_tokens = st.lists(st.lists(st.integers(5, 8), min_size=1, max_size=9).map(tuple), min_size=1, max_size=8)


# --- building ---------------------------------------------------------------------------------------------------------


@given(sequences_of_few_tokens)
def test_a_sorted_tree_is_depth_first_and_has_each_prefix_once(sequences):
    tree = TokenTree()
    paths = [tree.add(ids) for ids in sequences]
    number = tree.sort()
    assert len(tree) == len({ids[:length] for ids in sequences for length in range(1, len(ids) + 1)})
    for ids, path in zip(sequences, paths, strict=True):
        nodes = [number[node] for node in path]
        assert tree.path(nodes[-1]) == nodes
        assert tuple(tree.tokens[node] for node in nodes) == ids
    for node in range(1, len(tree)):
        assert tree.parents[node] in (-1, *tree.path(node - 1))
        assert tree.depths[node] == len(tree.path(node)) - 1


def test_sorting_keeps_the_order_in_which_children_were_added():
    tree = TokenTree()
    for ids in [(5, 9), (6,), (5, 7), (5, 9, 8)]:
        tree.add(ids)
    assert list(tree.sort()) == [0, 1, 4, 3, 2]
    assert tree.tokens == [5, 9, 8, 7, 6]
    assert tree.parents == [-1, 0, 1, 0, -1]


def test_the_last_token_of_a_form_is_read_and_has_no_node():
    tree = TokenTree()
    end = tree.add((5, 6))[-1]
    assert tree.add_form((7, 8, 9), end) == [(1, 7), (2, 8), (3, 9)]
    assert tree.add_form((7, 9), end) == [(1, 7), (2, 9)]
    assert tree.tokens == [5, 6, 7, 8]


# --- slices -----------------------------------------------------------------------------------------------------------


def test_the_cache_holds_only_the_path(tiny_llama):
    tree = TokenTree()
    ends = [tree.add(ids)[-1] for ids in [(5, 6, 7, 8), (5, 6, 9), (10, 11)]]
    runner = TreeRunner(tiny_llama)
    with torch.inference_mode():
        runner.logits(tree, range(4), [])
        assert runner.resume(tree, tree.parents[4]) == []
        assert runner._cache.get_seq_length() == 2
        runner.logits(tree, [4], [4])
        assert runner.resume(tree, tree.parents[5]) == []
        runner.reset()
        assert runner.resume(tree, ends[1]) == [0, 1, 4]


@settings(max_examples=25, deadline=None)
@given(sequences_of_few_tokens, st.integers(1, 20), st.integers(1, 4), st.booleans())
def test_any_tree_in_any_slices_gives_the_logits_of_its_sequences(tiny_llama, sequences, size, shortest, by_segments):
    tree = TokenTree()
    ends = [tree.add(ids)[-1] for ids in sorted(sequences)]
    runner = TreeRunner(tiny_llama, by_segments=by_segments, shortest=shortest)
    found = {}
    with torch.inference_mode():
        for begin in range(0, len(tree), size):
            nodes = range(begin, min(begin + size, len(tree)))
            assert runner.resume(tree, tree.parents[begin]) == []
            read = [node for node in nodes if node in ends]
            found |= dict(zip(read, runner.logits(tree, nodes, read), strict=True))
    assert runner.meter.forwarded == len(tree)
    for end, ids in zip(ends, sorted(sequences), strict=True):
        expected = tiny.log_probabilities(tiny_llama, ids)[-1]
        torch.testing.assert_close(found[end].double().log_softmax(-1), expected, rtol=1e-4, atol=1e-4)


# --- segments ---------------------------------------------------------------------------------------------------------


def parents_with_breaks(breaks, rows):
    return [0 if row in breaks else row - 1 for row in range(rows)]


@pytest.mark.parametrize(
    ("breaks", "rows", "shortest", "segments"),
    [
        ([], 9, 3, [(0, 9)]),
        ([4], 9, 3, [(0, 4), (4, 9)]),
        # The chains at 4 and 5 are short and join the segment before them; the one at 6 is long.
        ([4, 5, 6], 12, 3, [(0, 6), (6, 12)]),
        ([4, 5, 6], 12, 1, [(0, 4), (4, 5), (5, 6), (6, 12)]),
        # Short chains are separated once the segment is long.
        (list(range(2, 300)), 300, 16, [(0, 128), (128, 256), (256, 300)]),
    ],
)
def test_segments_begin_where_a_long_chain_begins(breaks, rows, shortest, segments):
    assert segment_bounds(parents_with_breaks(breaks, rows), 0, shortest) == segments


def test_a_segment_attends_to_its_path_and_itself():
    #      0 - 1 - 2        positions of a slice of four rows after two cached ones (0, 1); row 2 continues 1, row 4 continues 0
    #       \  \- 3
    #        4 - 5
    parents = [1, 1, 0, 4]
    visible = visible_keys(parents, [np.array([True]), np.array([True, True])])
    assert visible.astype(int).tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 1]]
    bounds = segment_bounds(parents, 2, shortest=1)
    first, second, third = attention_inputs(visible, bounds, torch.float32, "cpu")["tree_segments"]
    assert (first.begin, first.end, first.keys.tolist()) == (0, 1, [0, 1, 2])
    assert (second.begin, second.end, second.keys.tolist()) == (1, 2, [0, 1, 3])
    assert (third.begin, third.end, third.keys.tolist()) == (2, 4, [0, 4, 5])
    assert third.mask.tolist() == [[0, 0, -np.inf], [0, 0, 0]]


def test_segments_work_for_heads_that_share_keys_and_heads_that_do_not():
    tokenizer = tiny.tiny_tokenizer()
    for kind, settings_ in (("llama", {}), ("llama", {"num_key_value_heads": 4}), ("qwen3", {}), ("gpt2", {}), ("phi3", {})):
        assert choose_runner(tiny.tiny_model(tokenizer, kind, **settings_)).by_segments, kind


def test_a_model_with_unsupported_attention_uses_a_mask():
    model = tiny.tiny_model(tiny.tiny_tokenizer(), "gemma2", sliding_window=1000, attn_implementation="eager")
    assert not supports_segments(model)
    choice = choose_runner(model)
    assert choice == RunnerChoice(uses_tree=True, by_segments=False, bytes_per_token=choice.bytes_per_token)
    with pytest.raises(ValueError, match="does not support softcap"), segment_attention(model):
        model(input_ids=torch.tensor([[5, 6]]), tree_segments=[])


def test_a_model_has_its_own_attention_again_afterwards():
    respondent = tiny.made()
    model = respondent._loaded.model
    assert respondent._choice.by_segments
    list(respondent.answer([tiny.prompt()]))
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(RuntimeError, match="broken"), segment_attention(model):
        raise RuntimeError("broken")
    assert model.config._attn_implementation == "sdpa"


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_segments", [True, False])
def test_rows_continue_as_their_sequences_alone(tiny_llama, by_segments):
    sequences = [(5, 6, 7), (5, 6, 7, 8, 9), (5, 9)]
    tree = TokenTree()
    ends = [tree.add(ids)[-1] for ids in sequences]
    runner = TreeRunner(tiny_llama, by_segments=by_segments)
    with torch.inference_mode():
        runner.logits(tree, range(len(tree)), [])
        # The first path twice, as for two samples of one prompt.
        rows = runner.branch(tree, [ends[0], *ends])
        written = {row: list(ids) for row, ids in enumerate([sequences[0], *sequences])}
        # More steps than the cache has columns at first; rows end one by one, at last half of them.
        for step in range(70):
            left = [
                row for row in written if not (step > 10 and row == 1) and not (step > 20 and row == 2) and not (step > 68 and row == 0)
            ]
            tokens = [4 + (7 * step + row) % 60 for row in left]
            logits = rows.step(left, tokens)
            assert len(logits) == len(left)
            for row, token in zip(left, tokens, strict=True):
                written[row].append(token)
            if step in (0, 11, 21, 63, 64, 65, 69):
                for row, found in zip(left, logits, strict=True):
                    expected = tiny.log_probabilities(tiny_llama, written[row])[-1]
                    torch.testing.assert_close(found.double().log_softmax(-1), expected, rtol=1e-3, atol=1e-3)
    assert runner.resume(tree, ends[0]) == [0, 1, 2]


def test_a_finished_row_keeps_its_position():
    model = tiny.tiny_model(tiny.tiny_tokenizer(), "gpt2", n_positions=12)
    tree = TokenTree()
    ends = [tree.add(ids)[-1] for ids in [(5, 6, 7), (5, 8, 9), (6, *range(10, 19))]]
    runner = TreeRunner(model)
    with torch.inference_mode():
        runner.logits(tree, range(len(tree)), [])
        rows = runner.branch(tree, ends)
        rows.step([0, 1, 2], [20, 21, 22])
        for step in range(8):
            logits = rows.step([0, 1], [30 + step, 40 + step])
        expected = tiny.log_probabilities(model, [5, 6, 7, 20, *range(30, 38)])[-1]
        torch.testing.assert_close(logits[0].double().log_softmax(-1), expected, rtol=1e-4, atol=1e-4)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_probabilities_read_in_float32_are_those_of_float64():
    scorer = Scorer(tiny.made()._chat, [tiny.prompt()])
    generator = torch.Generator().manual_seed(3)
    # A large vocabulary with a wide spread, and one token that holds nearly everything.
    logits = 6 * torch.randn(len(scorer._wanted), 150_000, generator=generator)
    logits[0, 7] = 60.0
    scorer._store(list(scorer._wanted), logits)
    exact = logits.double().log_softmax(-1)
    for row, (node, tokens) in enumerate(scorer._wanted.items()):
        for token in tokens:
            assert scorer._logp[node, token] == pytest.approx(exact[row, token].item(), abs=1e-5)
