"""From the text a model wrote to an answer or a named failure."""
