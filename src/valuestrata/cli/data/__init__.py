"""Commands on survey files and data sets."""

from valuestrata.cli.data.build import build
from valuestrata.cli.data.surveys import codebook_draft, describe, landscape, leakage, simulate

__all__ = ["build", "codebook_draft", "describe", "landscape", "leakage", "simulate"]
