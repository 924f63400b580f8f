"""The tables of the checks that need no judge."""

from __future__ import annotations

import polars as pl

from valuestrata.frames import Column, Schema

TEXTS = Schema(
    "texts",
    {
        "run": Column(pl.String, "name of the run"),
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "sample": Column(pl.Int32, "0, 1, ..."),
        "refused": Column(pl.Boolean, "the whole text refuses"),
        "empty": Column(pl.Boolean, "it holds no word"),
        "cut": Column(pl.Boolean, "it ends where the length ended, not where the model did"),
        "written": Column(pl.Boolean, "an answer to look at: neither refused nor empty"),
        "leak": Column(pl.String, "profile, self or description: how it restates the persona's description; null where it does not"),
        "leak_attributes": Column(pl.List(pl.String), "attributes named in that place; null where nothing is restated"),
        "leak_text": Column(pl.String, "the words of the answer that do it"),
        "words": Column(pl.Int32, "words"),
        "sentences": Column(pl.Int32, "sentences"),
        "flesch": Column(pl.Float64, "Flesch reading ease, higher is easier; null unless it reads as English"),
        "lix": Column(pl.Float64, "LIX, lower is easier"),
    },
)

TEXT_RATES = Schema(
    "text_rates",
    {
        "run": Column(pl.String, "name of the run"),
        "by": Column(pl.String, "all, stratum, level, subgroup or topic"),
        "key": Column(pl.String, "which one of them"),
        "measure": Column(pl.String, "refused, empty, cut, leak, leak_profile, leak_self, leak_description; words, sentences, flesch, lix"),
        "value": Column(pl.Float64, "a share for the first seven, a mean for the others; over pairs, samples averaged first"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item; null under 5 items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "answers": Column(pl.Int64, "answers behind it"),
        "pairs": Column(pl.Int64, "pairs behind it"),
        "items": Column(pl.Int64, "items behind it"),
    },
)

MARKERS = Schema(
    "markers",
    {
        "run": Column(pl.String, "name of the run"),
        "attribute": Column(pl.String, "attribute"),
        "level": Column(pl.String, "level whose answers are held against those of the attribute's other levels"),
        "word": Column(pl.String, "word"),
        "answers": Column(pl.Int64, "answers of the level with the word"),
        "of": Column(pl.Int64, "answers of the level that were compared"),
        "others": Column(pl.Int64, "answers of the other levels with the word"),
        "of_others": Column(pl.Int64, "answers of the other levels that were compared"),
        "items": Column(pl.Int64, "items of which some answer of the level has the word"),
        "log_odds": Column(pl.Float64, "log-odds ratio under the prior, above 0: more in the level"),
        "z": Column(pl.Float64, "log_odds by its standard deviation"),
        "p": Column(pl.Float64, "one-sided: that the level uses the word no more than the others"),
        "p_adjusted": Column(pl.Float64, "by Benjamini-Hochberg over all words and levels of the run and attribute"),
        "marker": Column(pl.Boolean, "p_adjusted at most .05, on two items or more"),
    },
)

SIMILARITY = Schema(
    "similarity",
    {
        "run": Column(pl.String, "name of the run"),
        "by": Column(pl.String, "attribute, or all: every subgroup a level of its own"),
        "key": Column(pl.String, "attribute, or all"),
        "across": Column(pl.Float64, "mean cosine similarity of answers to one item by subgroups of different levels"),
        "shuffled": Column(pl.Float64, "what it would be if the levels were shuffled within item; null where nothing can be shuffled"),
        "gap": Column(pl.Float64, "shuffled - across: above 0, levels are written differently; at 0 the persona makes no difference"),
        "gap_low": Column(pl.Float64, "lower end of the 95 % interval of the gap, clustered by item; null under 5 items"),
        "gap_high": Column(pl.Float64, "upper end"),
        "p": Column(pl.Float64, "share of shuffles with no more similarity across levels than found, one-sided"),
        "within": Column(pl.Float64, "the same of different subgroups of one level; null where there are none"),
        "same": Column(pl.Float64, "the same of samples of one pair: what is left when nothing differs; null with one sample a pair"),
        "elsewhere": Column(pl.Float64, "the same of answers of one subgroup to different items: what is left when the question differs"),
        "answers": Column(pl.Int64, "answers compared"),
        "items": Column(pl.Int64, "items with answers of two levels"),
        "items_shuffled": Column(pl.Int64, "items with answers that could be shuffled: those behind shuffled, the gap and p"),
        "method": Column(pl.String, "what made vectors of texts"),
    },
)
