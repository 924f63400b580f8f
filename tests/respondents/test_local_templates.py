"""Chat templates: those of real models are rendered as transformers does, those that do not end are stopped."""

from __future__ import annotations

import pytest

from valuestrata.errors import InputDataError
from valuestrata.respondents.base import Message

from . import tiny

pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.loading import limited_templates
from valuestrata.respondents.local.transformers_internals import limited_templates as limited

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")


def doubled(what, start="'a'"):
    return "{% set ns = namespace(x=START, y=START) %}{% for i in range(60) %}".replace("START", start) + what + "{% endfor %}"


TWO_LISTS = doubled("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}")
ENDLESS = {
    "a long range": "{% for i in range(10**9) %}{% endfor %}",
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a loop of sums": "{% for i in range(99999) %}{% set x = range(99999)|sum %}{% endfor %}",
    "a loop of sorts": "{% for i in range(99999) %}{% set x = range(99999)|sort|length %}{% endfor %}",
    "a recursive macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "a recursive loop": "{% for x in range(90000) recursive %}{{ loop(range(90000)) }}{% endfor %}",
    "much output": "{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
    "a repeated text": "{{ 'a' * 10**10 }}",
    "a repeated list": "{{ [1] * 10**9 }}",
    "a large number": "{{ 10 ** (10 ** 8) }}",
    "a number that grows": doubled("{% set ns.x = ns.x * ns.x %}", "2"),
    "a text that grows by +": doubled("{% set ns.x = ns.x + ns.x %}"),
    "a text that grows by ~": doubled("{% set ns.x = ns.x ~ ns.x %}"),
    "a text that grows by %": doubled("{% set ns.x = '%s%s' % (ns.x, ns.x) %}"),
    "a text that grows by format": doubled("{% set ns.x = '{}{}'.format(ns.x, ns.x) %}"),
    "a text that grows by join": doubled("{% set ns.x = [ns.x, ns.x]|join %}"),
    "a text that grows in a block": doubled("{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}"),
    "a nested list as text": TWO_LISTS + "{{ ns.x }}",
    "nested lists compared": TWO_LISTS + "{{ ns.x == ns.y }}",
    "nested lists tested": TWO_LISTS + "{{ ns.x is eq ns.y }}",
    "replace": "{% set x = ('a' * 9999)|replace('a', 'a' * 9999) %}",
    "replace as a method": "{% set x = ('a' * 9999).replace('a', 'a' * 9999) %}",
    "join as a method": "{% set x = ('a' * 9999).join(range(9999)|map('string')|list) %}",
    "a width": "{{ 'a'.ljust(10**10) }}",
    "a width of a filter": "{{ 'a'|center(10**10) }}",
    "a width in a format": "{{ '%9999999999d' % 1 }}",
    "a width beside a format": "{{ '%*d' % (2000000000, 1) }}",
    "a width in a format method": "{{ '{:>9999999999}'.format(1) }}",
    "an indent": "{{ [1, 2]|tojson(indent=10**9) }}",
    "a batch": "{{ [1]|batch(10**9, 'x')|list }}",
    "paragraphs": "{{ lipsum(10**7) }}",
    "searching long texts": "{% for i in range(99999) %}{% if 'z' in 'a' * 99999 %}{% endif %}{% endfor %}",
    "slicing long texts": "{% set x = 'a' * 99999 %}{% for i in range(99999) %}{% set y = x[1:] %}{% endfor %}",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_template_that_does_not_end_is_stopped(what, monkeypatch):
    # Lower limits make the test fast; what is counted is the same.
    for name, value in {"MOST_STEPS": 20_000, "MOST_ELEMENTS": 200_000, "MOST_SIZE": 2_000_000, "MOST_CHARACTERS": 20_000_000}.items():
        monkeypatch.setattr(limited_templates, name, value)
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = ENDLESS[what]
    with pytest.raises(InputDataError, match=r"hf:x: its chat template (was stopped: it |fails \(|does not accept .*'lipsum')"):
        Chat(tokenizer, "hf:x")


@pytest.mark.parametrize("expression", ["1 / 0", "none.x.y", "'a' + 1", "[][3].x", "messages|sum", "'%d' % 'a'", "raise_exception('no')"])
def test_a_template_that_fails_is_one_message(expression):
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = "{{ EXPRESSION }}".replace("EXPRESSION", expression)
    with pytest.raises(InputDataError, match=r"hf:x: its chat template (fails|does not accept)"):
        Chat(tokenizer, "hf:x")


CHATS = [
    [Message("system", "You are a woman aged 35 to 44."), Message("user", "How important is family?\n1. Very\n2. Not ~ %s {} % * ")],
    [Message("user", "Question"), Message("assistant", "<think>\nhm\n</think>\n\nAnswer: 1"), Message("user", "And now?" * 5000)],
    [Message("user", "日本語 <|im_end|> {{ 7 * 7 }}")],
]
# What the templates of models use: namespaces, slices, reversed loops, joins, tests, macros, variables of loops.
REAL = {
    "chatml": tiny.TEMPLATE,
    "default system": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}"
        "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "alternating": (
        "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set messages = messages[1:] %}{% endif %}"
        "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
        "{% endif %}{% if loop.last and system is defined %}{{ '[INST] ' ~ system ~ '\n\n' ~ m['content'] ~ ' [/INST]' }}{% else %}"
        "{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}{% endif %}{% endfor %}"
    ),
    "thinking": (
        "{%- set ns = namespace(multi_step_tool=true, last=messages|length - 1) %}{%- for message in messages[::-1] %}"
        "{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi_step_tool and message.role == 'user' and message.content is "
        "string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}"
        "{%- set ns.multi_step_tool = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}{%- for message in messages %}"
        "{%- set content = message.content %}{%- if '</think>' in content %}"
        "{%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
        "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
        "{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{{- reasoning }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
    ),
    "macros and filters": (
        "{%- macro turn(role, text='', n=2) -%}<{{ role|upper }}|{{ '%s-%03d' % (text|length, n) }}|{{ '{:>4}'.format(n) }}>{{ text|trim }}"
        "{{ caller() if caller }}{%- endmacro -%}{% for m in messages if m.content %}{% call turn(m.role, m.content) %}|{{ loop.length }}"
        "/{{ loop.revindex }}{{ loop.cycle('a', 'b') }}{{ loop.previtem.role if loop.previtem }}{% endcall %}{% else %}none{% endfor %}"
        "{{ messages|map(attribute='role')|join(', ') }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}"
        "{{ (messages|first).role }}{{ messages[0]|tojson }}{{ {'a': [1, 2]}|tojson(indent=2) }}{% for k, v in messages[0].items() %}"
        "{{ k ~ '=' ~ v[:5] ~ 3 }}{% endfor %}{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}"
        "{% generation %}x{% endgeneration %}{{ 2 ** 10 + 7 % 3 * 2 }}{{ [1, 2] + [3] }}{{ 'ab' * 3 }}{{ eos_token }}"
        "{% set x %}{{ 'in' }}{% endset %}{{ x }}{{ missing is not defined }}{{ none is none }}"
        "{{ messages|length > 1 and 'many' or 'one' }}"
        "{{ 'x' if 'user' in messages|map(attribute='role') else 'y' }}{{ messages|tojson|length }}{{ '12'|int + 1 }}{{ 1.5|round }}"
        "{% filter upper %}up{% endfilter %}{{ '<b>' }}{{ strftime_now('%Y')|length }}{{ dict(a=1).a }}"
    ),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("ask", [True, False])
def test_templates_of_models_are_rendered_as_transformers_does(name, ask):
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = REAL[name]
    for chat in CHATS:
        turns = [{"role": message.role, "content": message.content} for message in chat]
        settings = {"tokenize": False, "add_generation_prompt": ask, "enable_thinking": False}
        expected = tokenizer.apply_chat_template(turns, **settings)
        for _ in range(2):
            with limited():
                assert tokenizer.apply_chat_template(turns, **settings) == expected


def test_each_prompt_has_the_whole_limit(monkeypatch):
    monkeypatch.setattr(limited_templates, "MOST_STEPS", 100)
    chat = Chat(tiny.tiny_tokenizer(), "hf:x")
    assert len({chat.render(CHATS[0]) for _ in range(50)}) == 1
