"""Token trees in slices, in segments and as rows."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.attention import attending, can_attend, cut, segments_of  # noqa: E402
from valuestrata.respondents.local.runner import TreeRunner, fit_of  # noqa: E402
from valuestrata.respondents.local.score import Scorer  # noqa: E402
from valuestrata.respondents.local.tree import TokenTree  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")


@cache
def model_of():
    return tiny.tiny_model(tiny.tiny_tokenizer())


@pytest.fixture(autouse=True)
def one_thread():
    with tiny.one_thread():
        yield


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


# --- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heads", "rows", "shortest", "segments"),
    [
        ([], 9, 3, [(0, 9)]),
        # Row 0 begins a segment whether it continues something cached or not.
        ([0, 4], 9, 3, [(0, 4), (4, 9)]),
        # The chains at 4 and 5 are short and stay with what stands before them; the one at 6 is long.
        ([4, 5, 6], 12, 3, [(0, 6), (6, 12)]),
        ([4, 5, 6], 12, 1, [(0, 4), (4, 5), (5, 6), (6, 12)]),
        # Short chains in a row are cut all the same once they are many.
        (list(range(1, 300)), 300, 16, [(0, 128), (128, 256), (256, 300)]),
    ],
)
def test_slices_are_cut_where_a_long_chain_begins(heads, rows, shortest, segments):
    assert cut(heads, rows, shortest) == segments


def test_a_segment_sees_its_path_and_itself():
    #      0 - 1 - 2        places of a slice of four rows after two cached ones (0, 1); row 2 stands on 1, row 4 on 0
    #       \  \- 3
    #        4 - 5
    seen = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 1]], dtype=bool)
    first, second, third = segments_of(seen, [1, 2], torch.float32, shortest=1)
    assert (first.begin, first.end, first.keys.tolist()) == (0, 1, [0, 1, 2])
    assert (second.begin, second.end, second.keys.tolist()) == (1, 2, [0, 1, 3])
    assert (third.begin, third.end, third.keys.tolist()) == (2, 4, [0, 4, 5])
    assert third.mask.tolist() == [[0, 0, -np.inf], [0, 0, 0]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(5, 8), min_size=1, max_size=9).map(tuple), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(1, 4),
    st.booleans(),
)
def test_any_tree_in_any_slices_gives_the_logits_of_its_sequences(sequences, size, shortest, by_segments):
    model = model_of()
    tree = TokenTree()
    ends = [tree.add_path(ids) for ids in sorted(sequences)]
    runner = TreeRunner(model, by_segments=by_segments, shortest=shortest)
    found = {}
    with torch.inference_mode():
        for begin in range(0, len(tree), size):
            nodes = range(begin, min(begin + size, len(tree)))
            assert runner.resume(tree, tree.parents[begin]) == []
            read = [node for node in nodes if node in ends]
            found |= dict(zip(read, runner.logits(tree, nodes, read), strict=True))
    assert runner.meter.forwarded == len(tree)
    for end, ids in zip(ends, sorted(sequences), strict=True):
        expected = tiny.log_probabilities(model, ids)[-1]
        torch.testing.assert_close(found[end].double().log_softmax(-1), expected, rtol=1e-4, atol=1e-4)


def test_segments_serve_heads_that_share_keys_and_heads_that_do_not():
    tokenizer = tiny.tiny_tokenizer()
    for kind, settings_ in (("llama", {}), ("llama", {"num_key_value_heads": 4}), ("qwen3", {}), ("gpt2", {}), ("phi3", {})):
        assert fit_of(tiny.tiny_model(tokenizer, kind, **settings_)).by_segments, kind


def test_what_segments_do_not_know_is_left_to_a_mask():
    tokenizer = tiny.tiny_tokenizer()
    softened = tiny.tiny_model(tokenizer, "gemma2", sliding_window=1000, attn_implementation="eager")
    assert not can_attend(softened)
    assert fit_of(softened)[:2] == (True, False)
    with pytest.raises(ValueError, match="softcap"), attending(softened.config):
        softened(input_ids=torch.tensor([[5, 6]]), tree_segments=[])


def test_a_model_attends_as_before_once_it_was_asked():
    respondent = tiny.made()
    model = respondent._loaded.model
    assert respondent._fit.by_segments
    list(respondent.answer([tiny.prompt()]))
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(RuntimeError, match="broken"), attending(model.config):
        raise RuntimeError("broken")
    assert model.config._attn_implementation == "sdpa"


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_segments", [True, False])
def test_rows_of_a_tree_write_on_as_their_sequences_do(by_segments):
    model = model_of()
    sequences = [(5, 6, 7), (5, 6, 7, 8, 9), (5, 9)]
    tree = TokenTree()
    ends = [tree.add_path(ids) for ids in sequences]
    runner = TreeRunner(model, by_segments=by_segments)
    with torch.inference_mode():
        runner.logits(tree, range(len(tree)), [])
        # The first path twice, as for two samples of one prompt.
        rows = runner.branch(tree, [ends[0], *ends])
        written = {row: list(ids) for row, ids in enumerate([sequences[0], *sequences])}
        # More steps than a batch has room for at first, with rows ending on the way, one by one and at last half of them.
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
                    expected = tiny.log_probabilities(model, written[row])[-1]
                    torch.testing.assert_close(found.double().log_softmax(-1), expected, rtol=1e-3, atol=1e-3)
    assert runner.resume(tree, ends[0]) == [0, 1, 2]


def test_a_row_that_has_ended_leaves_no_room_of_the_model():
    model = tiny.tiny_model(tiny.tiny_tokenizer(), "gpt2", n_positions=12)
    tree = TokenTree()
    ends = [tree.add_path(ids) for ids in [(5, 6, 7), (5, 8, 9), (6, *range(10, 19))]]
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
    respondent = tiny.made()
    scorer = Scorer(respondent._chat, [tiny.prompt()])
    generator = torch.Generator().manual_seed(3)
    # A large vocabulary with a wide spread, and one token that holds nearly everything.
    logits = 6 * torch.randn(len(scorer._wanted), 150_000, generator=generator)
    logits[0, 7] = 60.0
    scorer._store(list(scorer._wanted), logits)
    exact = logits.double().log_softmax(-1)
    for row, (node, tokens) in enumerate(scorer._wanted.items()):
        for token in tokens:
            assert scorer._logp[node, token] == pytest.approx(exact[row, token].item(), abs=1e-5)
