"""Texts to vectors, without a network: a small embedding model that a package ships, TF-IDF where it is absent.

The model is WordLlama's `l2_supercat_256` (MIT): 256-dimensional token vectors of language models, averaged over a text.
Its wheel carries weights and tokenizer; the extra `text` brings it.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import InputDataError

Floats = NDArray[np.float64]
MODEL = "l2_supercat_256"
# Single characters too, which scikit-learn leaves out by default: numbers stand as labels on many scales.
WORD = r"\w+"


@dataclass(frozen=True)
class Embedded:
    """Texts as vectors.

    Attributes:
        method: what made the vectors, with version: part of a run's identity.
        vectors: one unit row a text (a row of zeros for a text without a known word), shape (texts, dimensions).
    """

    method: str
    vectors: Floats


def embed_texts(texts: Sequence[str]) -> Embedded:
    """Return texts as unit vectors: WordLlama where it is installed, else TF-IDF over words and word pairs of these texts.

    Raises:
        InputDataError: WordLlama is installed without the weights its wheel should carry.
    """
    if not texts:
        return Embedded("none", np.zeros((0, 1)))
    try:
        package = _wordllama()
    except ImportError:
        return Embedded(f"tf-idf (scikit-learn {version('scikit-learn')})", _tf_idf(texts))
    return Embedded(f"wordllama {version('wordllama')} {MODEL}", _averaged_tokens(package, texts))


def _wordllama() -> Any:
    # On import it sets up logging for the whole process, which is not a library's business: put back what was there.
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        return importlib.import_module("wordllama")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _averaged_tokens(package: Any, texts: Sequence[str]) -> Floats:
    folder = Path(package.__file__).parent
    try:
        # The loader looks for the tokenizer that its wheel ships only in a cache folder; the package is laid out as one.
        model = package.WordLlama.load(cache_dir=folder, disable_download=True)
    except FileNotFoundError as error:
        raise InputDataError(
            f"{folder}: wordllama is installed without its weights ({error}) and nothing is downloaded here. "
            'Install it again with: pip install --force-reinstall "valuestrata[text]", or uninstall it to use TF-IDF.'
        ) from error
    return _unit(np.asarray(model.embed(list(texts)), dtype=np.float64))


def _tf_idf(texts: Sequence[str]) -> Floats:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True)
    try:
        return np.asarray(words.fit_transform(texts).toarray(), dtype=np.float64)
    except ValueError:
        # Raised where no text holds a word: then no two texts are alike.
        return np.zeros((len(texts), 1))


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
