"""Simulated surveys with known true shares."""
