"""Providers' wire formats: prompt to request, response to reply."""
