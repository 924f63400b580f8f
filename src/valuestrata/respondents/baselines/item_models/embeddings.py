"""Text embeddings without network access: WordLlama if installed (extra `text`), else TF-IDF.

The WordLlama model `l2_supercat_256` (MIT) averages 256-dimensional token vectors over a text.
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
# Includes single characters, unlike the default of scikit-learn, because numbers are labels on many scales.
WORD = r"\w+"


@dataclass(frozen=True)
class Embedded:
    """Embedded texts.

    Attributes:
        method: name and version of the method, part of the identity of a run.
        vectors: unit vectors, shape (texts, dimensions); zeros for a text without known words.
    """

    method: str
    vectors: Floats


def embed_texts(texts: Sequence[str]) -> Embedded:
    """Embed texts with WordLlama if it is installed, else with TF-IDF over words and word pairs.

    Raises:
        InputDataError: WordLlama is installed without its weights.
    """
    if not texts:
        return Embedded("none", np.zeros((0, 1)))
    try:
        package = _wordllama()
    except ImportError:
        return Embedded(f"tf-idf (scikit-learn {version('scikit-learn')})", tf_idf(texts))
    return Embedded(f"wordllama {version('wordllama')} {MODEL}", _averaged_tokens(package, texts))


def _wordllama() -> Any:
    # The import changes the root logger; restore it.
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
        # The loader expects the tokenizer in a cache folder; the package has the same layout.
        model = package.WordLlama.load(cache_dir=folder, disable_download=True)
    except FileNotFoundError as error:
        raise InputDataError(
            f"{folder}: wordllama is installed without its weights ({error}), which are not downloaded. "
            'Reinstall it with: pip install --force-reinstall "valuestrata[text]", or uninstall it to use TF-IDF.'
        ) from error
    return _unit(np.asarray(model.embed(list(texts)), dtype=np.float64))


def tf_idf(texts: Sequence[str]) -> Floats:
    """Return TF-IDF vectors over words and word pairs: unit vectors, zeros for a text without words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True)
    try:
        return np.asarray(words.fit_transform(texts).toarray(), dtype=np.float64)
    except ValueError:
        # Raised if no text contains a word.
        return np.zeros((len(texts), 1))


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
