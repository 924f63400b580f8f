"""vLLM's `LLM.generate` over a real model of transformers: the same call, the same outputs, one request after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# What vLLM 0.33 allows (`vllm.sampling_params.MAX_LOGPROB_TOKEN_IDS`).
MAX_LOGPROB_TOKEN_IDS = 128


@dataclass
class StructuredOutputsParams:
    choice: list[str] | None = None


@dataclass
class SamplingParams:
    """The parameters of vLLM's that are used, with its defaults."""

    n: int = 1
    temperature: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] = field(default_factory=list)
    max_tokens: int = 16
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    detokenize: bool = True
    structured_outputs: StructuredOutputsParams | None = None

    def __post_init__(self):
        if self.logprob_token_ids is not None and len(self.logprob_token_ids) > MAX_LOGPROB_TOKEN_IDS:
            raise ValueError(f"Requested logprob_token_ids of length {len(self.logprob_token_ids)}")
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ValueError("seed")


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str


@dataclass
class RequestOutput:
    request_id: str
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class TinyLLM:
    """Answers like `vllm.LLM` and records the calls.

    Attributes:
        calls: for each call of `generate` the prompts, their parameters and the LoRA request.
        outputs: what it gave back to the last call.
    """

    def __init__(self, model: Any, tokenizer: Any):
        self._model = model
        self.tokenizer = tokenizer
        self.outputs: list[RequestOutput] = []
        self.calls: list[tuple[list[tuple[int, ...]], list[SamplingParams], Any]] = []

    def generate(
        self,
        prompts: Sequence[dict[str, list[int]]],
        sampling_params: Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        lora_request: Any = None,
    ) -> list[RequestOutput]:
        assert sampling_params is not None
        assert len(prompts) == len(sampling_params)
        assert not use_tqdm
        self.calls.append(([tuple(prompt["prompt_token_ids"]) for prompt in prompts], list(sampling_params), lora_request))
        pairs = zip(prompts, sampling_params, strict=True)
        self.outputs = [self._one(str(number), prompt["prompt_token_ids"], how) for number, (prompt, how) in enumerate(pairs)]
        return self.outputs

    def _one(self, request_id: str, ids: list[int], how: SamplingParams) -> RequestOutput:
        import torch

        assert how.prompt_logprobs is None, "gives wrong numbers with a prefix cache"
        chance = torch.Generator().manual_seed(how.seed) if how.seed is not None else None
        stops = {self.tokenizer.eos_token_id, *how.stop_token_ids}
        written: list[int] = []
        logs: list[dict[int, Logprob]] = []
        while len(written) < how.max_tokens and not (written and written[-1] in stops):
            with torch.inference_mode():
                raw = self._model(input_ids=torch.tensor([[*ids, *written]])).logits[0, -1].float()
            logprobs = raw.log_softmax(-1)
            if how.structured_outputs is not None:
                allowed = self._allowed(written, how.structured_outputs.choice)
                raw = torch.full_like(raw, -torch.inf).index_fill(0, allowed, 0.0) + raw
            if how.temperature == 0:
                token = int(raw.argmax())
            else:
                token = int(torch.multinomial((raw / how.temperature).softmax(-1), 1, generator=chance))
            written.append(token)
            if how.logprob_token_ids is not None:
                logs.append({wanted: Logprob(float(logprobs[wanted])) for wanted in (token, *how.logprob_token_ids)})
        reason = "stop" if written[-1] in stops else "length"
        text = self.tokenizer.decode(written, skip_special_tokens=True) if how.detokenize else ""
        return RequestOutput(request_id, ids, [CompletionOutput(0, text, written, logs or None, reason)])

    def _allowed(self, written: list[int], choices: list[str]) -> Any:
        """The tokens that keep what is written the beginning of a choice; the end of sequence behind a whole one."""
        import torch

        pieces = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        so_far = "".join(pieces[token] for token in written)
        found = [
            token
            for token in range(len(self.tokenizer))
            if token not in self.tokenizer.all_special_ids and any(choice.startswith(so_far + pieces[token]) for choice in choices)
        ]
        return torch.tensor([*found, *([self.tokenizer.eos_token_id] if so_far in choices else [])])
