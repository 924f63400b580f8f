"""Prompts: persona, question and options, rendered from a data set."""

from valuestrata.prompts.orders import orders_from
from valuestrata.prompts.persona import Persona, Trait, personas_of
from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.prompts.question import Question, printed_numbers, questions_of
from valuestrata.prompts.render import render_prompts
from valuestrata.prompts.template import Template, builtin_templates, load_template, paraphrases_from

__all__ = [
    "Message",
    "Persona",
    "Prompt",
    "Question",
    "Template",
    "Trait",
    "builtin_templates",
    "load_template",
    "orders_from",
    "paraphrases_from",
    "personas_of",
    "printed_numbers",
    "questions_of",
    "render_prompts",
]
