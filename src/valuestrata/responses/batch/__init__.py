"""Runs that use a provider's batch service."""
