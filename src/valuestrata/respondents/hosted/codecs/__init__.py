"""Providers' codec formats: prompt to request, response to reply."""
