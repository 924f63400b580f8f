"""Prompts for these tests, each with words of its own."""

from __future__ import annotations

from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.respondents.hosted.respondent import HostedRespondent, make_hosted
from valuestrata.respondents.hosted.settings import HostedSettings


def prompt(number: int = 0, elicitation: str = "text", options: int = 4, **more) -> Prompt:
    labels = "\n".join(f"{code}. Label {code}" for code in range(1, options + 1))
    text = f"Question {number}.\n\n{labels}\n\nReply with one number from 1 to {options}, in the form:\nAnswer: N"
    return Prompt(
        pair_id=f"Q{number}_sex_Female",
        item=f"Q{number}",
        subgroup="sex_Female",
        messages=(Message("user", text),),
        prefill="Answer:",
        options=tuple(str(code) for code in range(1, options + 1)),
        shown=tuple(range(1, options + 1)),
        elicitation=elicitation,
        template="default",
        template_version="1+abcdef",
        **more,
    )


def prompts(count: int, elicitation: str = "text", **more) -> list[Prompt]:
    return [prompt(number, elicitation, **more) for number in range(count)]


def hosted(url: str, word: str = "openai-compatible/planted", **settings) -> HostedRespondent:
    return make_hosted(word, HostedSettings(base_url=url, **{"timeout": 5.0, **settings}))
