"""Runs answered on several machines: shards and Ray."""
