"""The words of the simulation study's page, with places for its figures."""

PAGE = """# Planted populations

Surveys whose true subgroup shares are known (`valuestrata simulate` writes one), and what intervals and baselines make of
them. This page is written whole by

    python bench/simulation_study.py --populations {populations} -o docs/simulation.md

## What was planted

{populations} populations under each condition, {datasets:,} data sets in all, of {respondents} respondents, {items} items of
2 to 10 options and attributes of {levels} levels. An item is a latent scale of standard deviation 1, cut at thresholds; an
attribute's level and a pair of levels move it, so that the true share of each option in each subgroup is a closed form.
Standard deviations of main effects and of interactions:
{sizes}.
A respondent's answers hang together: common traits carry {common:.0%} of an item's variance. {missing:.0%} of answers are missing.
Data sets are built with {draws} redraws, without a file between (one that is written reads back to the same answers, which a test
checks); intervals are of {bootstrap} replicates.

Three models were decided before anyone was sampled. `{national}` gives the nation's true shares and `{subgroup}` those of the
subgroup, both a random distribution on {error:.0%} of pairs. `{oracle}` gives the subgroup's true shares everywhere. `{subgroup}`
is therefore a respondent model of known accuracy: against the planted modes it scores {exact} by a closed form (over all
populations, items and pairs), and {found} +- {found_error} was found under `{none}`.

## What was found

- {found_scores}
- {found_others}
{found_gains}

## Do intervals cover?

An interval claims to hold the mean score over other items and other respondents, surveyed as these were: labels are modes and
shares of samples of this size, with their noise. So each population has its own items and its own people, and the target is
the mean score over all populations of the condition. Percent of the 95 % intervals that hold it: of {populations}, a
true 95 % would stay between {low} and {high} with probability .999; what does not is bold. In brackets the mean width of
the interval over the width that the scores' own spread calls for: 1 is exact, more is too wide.

{coverage}

Spread ratios and structure, where effects were planted. Structure's interval is of items only; the noise of
respondents that items have in common is not in it. Of the ratios only data sets with an interval count.

{others}

With the items kept and only the people drawn anew ({held} populations, {samples} samples each; the target is the mean of the
population's samples) the interval is meant to be too wide: it allows for other items, which do not come.

{coverage_held}

## Are two equal models told apart?

Under `{none}` the nation's and the subgroup's shares are the same, and `{subgroup}` and `{national}` differ in nothing but which
pairs they err on. Percent of populations in which the paired 95 % interval of their difference excludes 0, in brackets below and
above; a true 5 % stays between {alarm_low} and {alarm_high}.

{alarms}

## What do noisy labels do to a score?

Intervals do not say what a score would be against labels without noise. Mean score against the planted modes and shares, then
against the gold under `paper` (labels of all respondents) and under `paper+disjoint` (labels of one half).

{noise}

## What do spread ratios say of the truth?

The planted modes themselves as a model, `{oracle}`: neither flattened nor exaggerated. Its true ratio is 1 where subgroups differ.
A raw ratio is too low and a corrected one too high by what noise does to the modes' spread; a model is called exaggerated where
the whole interval of the raw ratio is above 1, flattened where the whole interval of the corrected one is below 1.
Each should happen to this model in at most {most} % of populations.

{spread}

## Do shares carry the right error?

Percent of shares of all pairs for which gold +- 1.96 `share_se` holds the planted share, by the expected number of answers of
the option (or of all others, where these are fewer). Options that hardly anyone chooses have lopsided errors that no
symmetric interval covers.

{share}

## Do baselines find what was planted, and nothing else?

Percent of populations in which the paired 95 % interval of a baseline lies wholly on the better side of `{item_mode}`; in brackets
the mean gain in points, positive is better. `{strongest}` was named before the study as the baseline whose gain is the claim.
Where nothing is planted 2.5 % is nominal, and {most} % of {populations} is exceeded with probability .0005. Under `paper` the
respondents of a test cell also stand behind the training gold, and a baseline that follows their noise is rewarded for it;
only `paper+disjoint` can show that nothing is there.

{gains}

Root mean square distance of predicted to planted shares over the test pairs, in points. Under `paper+disjoint` baselines learn from
one half of the people, and the observed shares are those of the other half.

{recovery}

## Are ceilings reachable?

Mean score of a model that gives the true shares and the true mode of every subgroup, and the mean ceiling or floor printed
for the same pairs. Ceilings are plug-in values: the mode that redraws show most often is not always the true one. In brackets
what part of the way from `{item_mode}` to the ceiling the truth goes: more than that no model can reach but by luck.

{bounds}

## Seeds and versions

Populations have the seeds 0 to {last}, for items and for people alike, the same under every condition; samples of the
{held} populations whose items are kept have {first_held} to {last_held}. Attributes and their joint distribution are the same
throughout (structure seed 0). {versions}, Python {python}.
"""
