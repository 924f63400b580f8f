"""Codecs of the providers: prompt to request, response to reply."""
