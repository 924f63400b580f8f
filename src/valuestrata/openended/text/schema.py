"""Tables of the text checks."""

from __future__ import annotations

import polars as pl

from valuestrata.frames import Column, Schema

_RUN = {"run": Column(pl.String, "name of the run")}

TEXTS = Schema(
    "texts",
    {
        **_RUN,
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "sample": Column(pl.Int32, "0, 1, ..."),
        "refused": Column(pl.Boolean, "the whole text refuses"),
        "empty": Column(pl.Boolean, "the text has no word"),
        "cut": Column(pl.Boolean, "the text ended at the length limit"),
        "written": Column(pl.Boolean, "neither refused nor empty"),
        "leak": Column(pl.String, "how it restates the persona: profile, self or description; null if it does not"),
        "leak_attributes": Column(pl.List(pl.String), "attributes named there; null if nothing is restated"),
        "leak_text": Column(pl.String, "the words that restate it"),
        "words": Column(pl.Int32, "number of words"),
        "sentences": Column(pl.Int32, "number of sentences"),
        "flesch": Column(pl.Float64, "Flesch reading ease, higher is easier; null unless the text is English"),
        "lix": Column(pl.Float64, "LIX, lower is easier"),
    },
)

TEXT_RATES = Schema(
    "text_rates",
    {
        **_RUN,
        "by": Column(pl.String, "all, stratum, level, subgroup or topic"),
        "key": Column(pl.String, "value of the grouping"),
        "measure": Column(pl.String, "refused, empty, cut, leak, leak_profile, leak_self, leak_description; words, sentences, flesch, lix"),
        "value": Column(pl.Float64, "a share (first seven measures) or a mean, over pairs after averaging samples"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by block of items; null under 5 items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "answers": Column(pl.Int64, "number of answers"),
        "pairs": Column(pl.Int64, "number of pairs"),
        "items": Column(pl.Int64, "number of items"),
    },
)

MARKERS = Schema(
    "markers",
    {
        **_RUN,
        "attribute": Column(pl.String, "attribute"),
        "level": Column(pl.String, "level compared with the attribute's other levels"),
        "word": Column(pl.String, "word"),
        "answers": Column(pl.Int64, "answers of the level with the word"),
        "of": Column(pl.Int64, "compared answers of the level"),
        "others": Column(pl.Int64, "answers of the other levels with the word"),
        "of_others": Column(pl.Int64, "compared answers of the other levels"),
        "items": Column(pl.Int64, "items with an answer of the level that has the word"),
        "log_odds": Column(pl.Float64, "log-odds ratio with the prior; above 0: more frequent in the level"),
        "z": Column(pl.Float64, "log_odds divided by its standard deviation"),
        "p": Column(pl.Float64, "one-sided p-value of a higher frequency in the level"),
        "p_adjusted": Column(pl.Float64, "adjusted by Benjamini-Hochberg over all words and levels of the run and attribute"),
        "marker": Column(pl.Boolean, "p_adjusted of at most .05, on two items or more"),
    },
)

SIMILARITY = Schema(
    "similarity",
    {
        **_RUN,
        "by": Column(pl.String, "attribute, or all: every subgroup is a level"),
        "key": Column(pl.String, "name of the attribute, or all"),
        "across": Column(pl.Float64, "mean cosine similarity of answers to one item by subgroups of different levels"),
        "shuffled": Column(pl.Float64, "the same with levels shuffled within item; null if nothing can be shuffled"),
        "gap": Column(pl.Float64, "shuffled - across: above 0, wording differs by level; 0, the persona makes no difference"),
        "gap_low": Column(pl.Float64, "lower end of the 95 % interval of the gap, clustered by block of items; null under 5 items"),
        "gap_high": Column(pl.Float64, "upper end"),
        "p": Column(pl.Float64, "one-sided permutation p-value: share of shuffles with no more similarity across levels"),
        "within": Column(pl.Float64, "similarity of different subgroups of one level; null without such pairs"),
        "same": Column(pl.Float64, "similarity of samples of one pair; null with one sample per pair"),
        "elsewhere": Column(pl.Float64, "similarity of answers of one subgroup to different items"),
        "answers": Column(pl.Int64, "answers compared"),
        "items": Column(pl.Int64, "items with answers of two levels"),
        "items_shuffled": Column(pl.Int64, "items that could be shuffled: those of shuffled, gap and p"),
        "method": Column(pl.String, "method of the text vectors"),
    },
)
