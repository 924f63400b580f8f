"""Hidden states of prompts, from passes over a token tree: prompts share their prefixes as in scoring.

The answer position is that of the last token before the answer: the end of the prefill `Answer:`, or of what all forms of the
options continue if the tokenizer merges across it. The logits at this position predict the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import RunFailedError, UsageError
from valuestrata.respondents.base import Elicitation, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.runner import Runner, in_slices
from valuestrata.respondents.local.tree import TokenTree

Floats32 = NDArray[np.float32]

# The other elicitations ask for a longer reply, so their prompts have no such position.
SHORT: tuple[Elicitation, ...] = ("logprob", "first-token", "text")


class StateReader:
    """Puts prompts into one token tree and reads the hidden states where their answers begin.

    Raises:
        UsageError: an elicitation without an answer position.
    """

    def __init__(self, chat: Chat, prompts: Sequence[Prompt]) -> None:
        if other := next((prompt.elicitation for prompt in prompts if prompt.elicitation not in SHORT), None):
            raise UsageError(
                f"Hidden states are read where a short answer begins, and the elicitation {other!r} asks for a longer reply. "
                f"Use a run with one of: {', '.join(SHORT)}."
            )
        stems = [chat.tokenize_options(prompt).stem for prompt in prompts]
        self._tree = TokenTree()
        ends = {stem: self._tree.add(stem)[-1] for stem in sorted(set(stems))}
        number = self._tree.sort() if ends else ()
        self._ends = [number[ends[stem]] for stem in stems]
        self.longest = max(map(len, stems), default=0)

    def run(self, runner: Runner, size: int, layers: Sequence[int]) -> Floats32:
        """Return the hidden states of the prompts, shape (prompts, layers, size of a state).

        Args:
            runner: runs the model. size: tokens per pass. layers: see `LocalRespondent.hidden_states`.

        Raises:
            RunFailedError: a pass failed.
        """
        found: dict[int, Floats32] = {}
        for _, error in in_slices(runner, self._tree, size, partial(self._read, runner, set(self._ends), layers, found)):
            if error is not None:
                raise RunFailedError(f"The hidden states could not be read: {error}")
        return np.stack([found[end] for end in self._ends]) if self._ends else np.zeros((0, len(layers), 0), dtype=np.float32)

    def _read(self, runner: Runner, ends: set[int], layers: Sequence[int], found: dict[int, Floats32], nodes: range) -> None:
        read = [node for node in nodes if node in ends]
        states: Any = runner.states(self._tree, nodes, read, layers)
        found.update(zip(read, states.float().cpu().numpy(), strict=True))
