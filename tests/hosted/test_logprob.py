"""`logprob` through a server that continues a turn, against the same model read out on this machine."""

import math
from dataclasses import replace

import pytest

from tests.hosted.prompts import hosted
from tests.hosted.server import Act, Server, said
from tests.respondents import tiny
from valuestrata.respondents.hosted import readout

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.load import Loaded  # noqa: E402
from valuestrata.respondents.local.respondent import LocalRespondent  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")

SPACED = tuple((" ", digit) for digit in "1234567890")
PROMPTS = [
    tiny.prompt(person, item, options=count)
    for person, item, count in (("a woman", "work", 3), ("a man", "work", 10), ("a man", "faith", 10))
]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Model:
    """Chat completions of a real, tiny model, as vLLM's server gives them; `trims`: its template cuts blanks off a turn."""

    def __init__(self, merges=(), *, trims=False):
        self.tokenizer = tiny.tiny_tokenizer(merges)
        self.model = tiny.tiny_model(self.tokenizer, eos_token_id=2)
        self.end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        self.trims = trims

    def local(self):
        return LocalRespondent("hf:tiny", Loaded(self.model, self.tokenizer, {"model": "tiny"}))

    def __call__(self, request):
        body = request.body
        turns = body["messages"]
        begun = turns[-1]["content"] if body.get("continue_final_message") else ""
        text = self.tokenizer.apply_chat_template(turns[:-1] if begun else turns, add_generation_prompt=True, tokenize=False)
        ids = self.tokenizer(text + (begun.rstrip() if self.trims else begun), add_special_tokens=False)["input_ids"]
        read, entries = len(ids), []
        for _ in range(body["max_tokens"]):
            with torch.inference_mode():
                rows = self.model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
            logprobs, tokens = rows.topk(min(body["top_logprobs"], len(rows)))
            likeliest = [pair for pair in zip(tokens.tolist(), logprobs.tolist(), strict=True) if self.is_canonical(ids, pair[0])]
            listed = [{"token": self.shown(token), "logprob": value} for token, value in likeliest]
            entries.append(listed[0] | {"top_logprobs": listed})
            ids.append(likeliest[0][0])
            if ids[-1] == self.end:
                break
        return Act(document=said("".join(entry["token"] for entry in entries), tokens=(read, len(entries)), logprobs={"content": entries}))

    def is_canonical(self, ids, token):
        """Whether the tokenizer itself would write the text so; to a trained model all else is next to impossible."""
        text = "".join(self.tokenizer.convert_ids_to_tokens([*ids[-6:], token]))
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] == [*ids[-6:], token]

    def shown(self, token):
        # The tiny vocabulary has a second end, likely at random weights, which a template of its own makes no end of a turn.
        text = self.tokenizer.decode([token])
        return "<other end>" if text == "<|end|>" else text


def asked(behave, prompts, **settings):
    with Server(behave) as server:
        respondent = hosted(server.url, "vllm-server/tiny", **{"top_logprobs": 500, **settings})
        answers = {answer.prompt.key: answer for answer in respondent.answer(prompts)}
        return [answers[prompt.key] for prompt in prompts], len(server.log)


@pytest.mark.parametrize(
    "merges",
    [pytest.param((), marks=pytest.mark.slow), SPACED, (*SPACED, ("1", "0")), (*SPACED, (" 1", "0"))],
    ids=["characters", "spaced", "ten", "spaced-ten"],
)
def test_it_is_what_the_model_gives_on_this_machine(monkeypatch, merges):
    monkeypatch.setattr(readout, "PRUNED", 0.0)
    model = Model(merges)
    local = {answer.prompt.key: answer for answer in model.local().answer(PROMPTS)}
    answers, _ = asked(model, PROMPTS)
    for answer in answers:
        same = local[answer.prompt.key]
        assert answer.error is None
        assert answer.option_probs == pytest.approx(same.option_probs, rel=1e-4)
        assert answer.option_mass == pytest.approx(same.option_mass, rel=1e-4)


def test_first_token_is_as_well_where_no_option_begins_another(monkeypatch):
    model = Model(SPACED)
    three = [replace(prompt, elicitation="first-token") for prompt in PROMPTS[:1]]
    local = next(iter(model.local().answer(three)))
    answers, calls = asked(model, three)
    assert answers[0].option_probs == pytest.approx(local.option_probs, rel=1e-5)
    assert answers[0].option_mass == pytest.approx(local.option_mass, rel=1e-5)
    assert calls == 1


def test_what_is_pruned_or_not_listed_can_only_lower_the_mass_and_by_little(monkeypatch):
    model = Model(SPACED)
    exact, many = asked(model, PROMPTS, top_logprobs=500)
    cut, few = asked(model, PROMPTS, top_logprobs=20)
    assert few < many
    for whole, part in zip(exact, cut, strict=True):
        assert part.error is not None or part.option_mass <= whole.option_mass + 1e-12


def test_calls_of_one_prompt_are_counted_paid_and_added_up():
    from valuestrata.respondents.hosted.prices import Prices

    answers, calls = asked(Model(SPACED), PROMPTS[:1], prices=Prices(1.0, 2.0))
    answer = answers[0]
    assert answer.attempts == calls > 1
    assert answer.prompt_tokens > calls * 50
    assert answer.cost == pytest.approx((answer.prompt_tokens + 2 * answer.completion_tokens) / 1e6)
    assert answer.text is None
    assert answer.finish_reason is None


def test_a_blank_that_the_servers_template_cuts_off_is_noticed():
    """Without merges every answer lies behind a blank token, or is written without one."""
    model = Model(trims=True)
    answers, _ = asked(model, PROMPTS[:1])
    blank = math.exp(next(value for token, value in first_alternatives(model) if token == " "))
    if blank > 0.01:
        assert answers[0].error.startswith("a blank is cut off: ")
    else:
        assert answers[0].error is None


def first_alternatives(model):
    from tests.hosted.server import Request

    turns = [{"role": "user", "content": PROMPTS[0].messages[0].content}, {"role": "assistant", "content": "Answer:"}]
    body = {"messages": turns, "continue_final_message": True, "max_tokens": 1, "top_logprobs": 500}
    entry = model(Request(0, 0, "", body, {}, "", 0.0)).document["choices"][0]["logprobs"]["content"][0]
    return [(other["token"], other["logprob"]) for other in entry["top_logprobs"]]


def test_a_server_that_shows_nothing_of_the_end_is_noticed_where_it_matters():
    class Ends(Model):
        """Writes ` 2` and ends."""

        def __call__(self, request):
            begun = request.body["messages"][-1]["content"]
            if begun.endswith("2"):
                return Act(document=said("", logprobs={"content": []}))
            two = {"token": " 2", "logprob": -0.1}
            return Act(document=said(" 2", logprobs={"content": [two | {"top_logprobs": [two]}]}))

    answers, _ = asked(Ends(), PROMPTS[:1])
    assert answers[0].error.startswith("no log-probabilities of what follows ' 2'")


def test_a_fault_in_the_middle_of_a_prompt_is_survived_and_one_that_stays_ends_it():
    model = Model(SPACED)
    sound, calls = asked(model, PROMPTS[:1])
    shaken, more = asked(lambda request: Act(500, {}) if request.attempt == 1 else model(request), PROMPTS[:1])
    assert shaken[0].option_probs == sound[0].option_probs
    assert (shaken[0].attempts, more) == (2 * calls, 2 * calls)

    def breaks(request):
        return Act(500, {"error": {"message": "broken"}}) if request.body["messages"][-1]["content"] != "Answer:" else model(request)

    answers, _ = asked(breaks, PROMPTS[:1], attempts=2)
    assert answers[0].error == "server error: HTTP 500: broken"
    assert answers[0].option_probs is None


def test_a_prompt_that_was_begun_is_finished_when_the_run_is_stopped():
    """Its first calls are paid for."""
    model = Model(SPACED)

    def behave(request):
        if request.number == 0:
            respondent.stop("interrupted")
        return model(request)

    with Server(behave) as server:
        respondent = hosted(server.url, "vllm-server/tiny", top_logprobs=500)
        answers = list(respondent.answer(PROMPTS))
    assert len(answers) == 1
    assert answers[0].error is None
    assert answers[0].attempts == len(server.log)
