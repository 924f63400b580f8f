"""Models behind an API: OpenAI, Anthropic, Google, and every server that speaks the language of OpenAI's."""
