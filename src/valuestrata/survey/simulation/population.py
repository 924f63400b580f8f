"""Simulated populations whose true subgroup shares are known exactly.

Every item has a standard normal latent variable with thresholds. Main effects and interactions of a respondent's cell
(one level of every attribute) shift the thresholds, so the share of each option in each cell has a closed form. Traits
correlate the latent variables of a respondent without changing their marginal distributions. Answers are missing
completely at random.

Three parts have separate seeds: the structure (attributes, their joint distribution, the sampling design), the
population (base shares, effects and loadings of items) and the sample (respondents and answers).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import Option, UsageError, check_seed, did_you_mean
from valuestrata.files import canonical_hash
from valuestrata.stats.arrays import generator
from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Country, Item, Missing, load_codebook
from valuestrata.survey.survey import Findings, Source, Survey

GENERIC = "simulated"
WVS = "wvs7"
# Names and short names of generic attributes; the first ones are used.
ATTRIBUTE_NAMES = (("sex", "sex"), ("age_group", "age"), ("religion", "religion"), ("region", "region"), ("education", "education"))
TOPICS = 6
# Shares of the classes of missing answers: mostly "don't know" and refusals, as in face-to-face surveys.
MISSING_MIX: Mapping[Missing, float] = {
    Missing.DONT_KNOW: 0.5,
    Missing.NO_ANSWER: 0.3,
    Missing.NOT_APPLICABLE: 0.1,
    Missing.NOT_ASKED: 0.05,
    Missing.OTHER_MISSING: 0.05,
}
# Dirichlet concentrations: base shares of an item's options, and marginal shares of an attribute's levels.
BASE_CONCENTRATION = 3.0
MARGIN_CONCENTRATION = 10.0
# Number of ethnic groups and religions used: with more, cells have too few respondents.
WVS_LEVELS = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SimulationSettings:
    """Settings of a simulated population.

    Attributes:
        survey: `simulated` for generic items and attributes, or `wvs7` for those of that codebook.
        country: country of a wvs7 population: numeric code, alpha-3 code or name.
        respondents: sample size.
        items: number of items; None for 30 generic items or all default items of wvs7.
        options: possible numbers of options of generic items, from 2 to 10.
        nominal: share of nominal items among generic items of three or more options.
        levels: numbers of levels of the generic attributes (at most five).
        main_effects: standard deviation of the shift of a latent variable by a level of an attribute.
        interactions: the same for a pair of levels of two attributes.
        association: standard deviation of the log-linear association of the levels of two attributes; 0 for independence.
        common: share of the latent variance of an item explained by traits, in [0, 1).
        traits: number of traits.
        missing: share of missing answers, in [0, 1), divided among the classes as in `MISSING_MIX`.
        weighted: whether cells are oversampled and a weight corrects for it.
        oversampling: standard deviation of the log sampling rate of the levels of each attribute, if weighted.
        structure_seed, seed: seeds of the structure and of the population.
    """

    survey: str = GENERIC
    country: str = "SGP"
    respondents: int = 1200
    items: int | None = None
    options: tuple[int, ...] = (2, 3, 4, 5, 10)
    nominal: float = 0.1
    levels: tuple[int, ...] = (2, 4, 3)
    main_effects: float = 0.3
    interactions: float = 0.15
    association: float = 0.3
    common: float = 0.15
    traits: int = 3
    missing: float = 0.05
    weighted: bool = False
    oversampling: float = 0.3
    structure_seed: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Population:
    """A population of C joint cells, A attributes and I items with at most K options.

    Attributes:
        settings: its settings.
        codebook, items, attributes, countries: as in `Survey`.
        cells: int16, shape (C, A), level indices of each joint cell.
        joint: shape (C,), population share of each cell, sum 1.
        sampling: shape (C,), probability that a respondent is in each cell, sum 1; equals `joint` if unweighted.
        base: shape (I, K), shares without effects, 0 after the last option of an item.
        direction: shape (I, K), change of the log odds of each option of a nominal item per unit of effect; 0 for others.
        main: attribute -> shape (levels, I), shift of the latent variables.
        interactions: two attributes -> shape (levels, levels, I), additional shift.
        loadings: shape (I, traits); the squares of an item sum to `settings.common`.
    """

    settings: SimulationSettings
    codebook: Codebook
    items: tuple[Item, ...]
    attributes: tuple[Attribute, ...]
    countries: tuple[Country, ...]
    cells: NDArray[np.int16]
    joint: Floats
    sampling: Floats
    base: Floats
    direction: Floats
    main: Mapping[str, Floats]
    interactions: Mapping[tuple[str, str], Floats]
    loadings: Floats

    @cached_property
    def shift(self) -> Floats:
        """Shift of the latent variable of each item in each cell, shape (C, I)."""
        place = {attribute.name: a for a, attribute in enumerate(self.attributes)}
        total = np.zeros((len(self.cells), len(self.items)))
        for name, effect in self.main.items():
            total += effect[self.cells[:, place[name]]]
        for (first, second), effect in self.interactions.items():
            total += effect[self.cells[:, place[first]], self.cells[:, place[second]]]
        return total

    @cached_property
    def thresholds(self) -> Floats:
        """Thresholds of the latent variables in each cell, shape (C, I, K - 1); infinite from the last option on."""
        from scipy.special import ndtri, softmax

        ordered = ndtri(np.minimum(np.cumsum(self.base, axis=-1)[:, :-1], 1.0)) - self.shift[..., None]
        with np.errstate(divide="ignore"):
            logits = np.log(self.base) + self.shift[..., None] * self.direction
        nominal = ndtri(np.minimum(np.cumsum(softmax(logits, axis=-1), axis=-1)[..., :-1], 1.0))
        cuts = np.where(np.array([item.level == "nominal" for item in self.items])[:, None], nominal, ordered)
        last = np.array([len(item.codes) for item in self.items])[:, None]
        return np.where(np.arange(1, self.base.shape[1]) >= last, np.inf, cuts)

    @cached_property
    def shares(self) -> Floats:
        """True share of each option in each cell, shape (C, I, K), sum 1."""
        from scipy.special import ndtr

        below = ndtr(self.thresholds)
        ends = below.shape[:-1]
        return np.diff(np.concatenate([np.zeros((*ends, 1)), below, np.ones((*ends, 1))], axis=-1), axis=-1)

    @property
    def weight(self) -> Floats:
        """Weight of a respondent of each cell, shape (C,), mean 1 over the sampling design."""
        return self.joint / self.sampling


@dataclass(frozen=True)
class _Design:
    """Codebook, items, countries, and attributes with the level indices used."""

    codebook: Codebook
    items: tuple[Item, ...]
    attributes: tuple[Attribute, ...]
    used: tuple[tuple[int, ...], ...]
    countries: tuple[Country, ...] = field(default=())


def plant(settings: SimulationSettings) -> Population:
    """Draw a population.

    Raises:
        UsageError: a setting out of range, too many items, or an unknown survey or country.
    """
    _check_settings(settings)
    structure_rng = generator(settings.structure_seed, 0)
    item_rng = generator(settings.seed, 1)
    design = _wvs(settings, structure_rng, item_rng) if settings.survey == WVS else _generic(settings, item_rng)
    cells, joint, sampling = _structure(settings, design, structure_rng)
    items, widest = len(design.items), max(len(item.codes) for item in design.items)
    base, direction = np.zeros((items, widest)), np.zeros((items, widest))
    for place, item in enumerate(design.items):
        options = len(item.codes)
        base[place, :options] = item_rng.dirichlet(np.full(options, BASE_CONCENTRATION))
        if item.level == "nominal":
            direction[place, :options] = item_rng.standard_normal(options)
    # Scaled after drawing, so populations of one seed differ only in the size of their effects.
    sizes = [len(attribute.levels) for attribute in design.attributes]
    main = {a.name: settings.main_effects * item_rng.standard_normal((n, items)) for a, n in zip(design.attributes, sizes, strict=True)}
    pairs = itertools.combinations(zip(design.attributes, sizes, strict=True), 2)
    interactions = {(a.name, b.name): settings.interactions * item_rng.standard_normal((n, m, items)) for (a, n), (b, m) in pairs}
    loadings = item_rng.standard_normal((items, settings.traits))
    loadings *= np.sqrt(settings.common) / np.linalg.norm(loadings, axis=1, keepdims=True)
    return Population(
        settings=settings,
        codebook=design.codebook,
        items=design.items,
        attributes=design.attributes,
        countries=design.countries,
        cells=cells,
        joint=joint,
        sampling=sampling,
        base=base,
        direction=direction,
        main=main,
        interactions=interactions,
        loadings=loadings,
    )


def draw_survey(population: Population, seed: int, *, respondents: int | None = None) -> Survey:
    """Draw respondents and their answers from a population.

    Args:
        population: the population.
        seed: seed of the sample.
        respondents: sample size; None for that of the settings.
    """
    settings = population.settings
    n = settings.respondents if respondents is None else respondents
    rng = generator(seed, 2)
    cell = rng.choice(len(population.cells), size=n, p=population.sampling)
    own = rng.standard_normal((n, len(population.items)))
    latent = rng.standard_normal((n, settings.traits)) @ population.loadings.T + np.sqrt(1 - settings.common) * own
    answers = np.zeros(latent.shape, dtype=np.int8, order="F")
    for cut in range(population.thresholds.shape[-1]):
        answers += latent > population.thresholds[cell, :, cut]
    missing = rng.random(answers.shape) < settings.missing
    classes = np.array([int(kind) for kind in MISSING_MIX], dtype=np.int8)
    answers[missing] = rng.choice(classes, size=int(missing.sum()), p=list(MISSING_MIX.values()))
    identity = canonical_hash([asdict(settings), seed, n])
    return Survey(
        codebook=population.codebook,
        items=population.items,
        attributes=population.attributes,
        answers=answers,
        levels=np.asfortranarray(population.cells[cell]),
        weight=population.weight[cell] if settings.weighted else None,
        countries=population.countries,
        source=Source("simulated", "memory", identity, n, n),
        findings=Findings(notes=("Simulated: these respondents are not people.",)),
    )


def _structure(settings: SimulationSettings, design: _Design, rng: np.random.Generator) -> tuple[NDArray[np.int16], Floats, Floats]:
    """Return the joint cells, their population shares and their sampling probabilities."""
    sizes = [len(levels) for levels in design.used]
    places = np.array(list(itertools.product(*(range(size) for size in sizes))))
    log_share = np.zeros(len(places))
    for a, size in enumerate(sizes):
        log_share += np.log(rng.dirichlet(np.full(size, MARGIN_CONCENTRATION)))[places[:, a]]
    for a, b in itertools.combinations(range(len(sizes)), 2):
        log_share += settings.association * rng.standard_normal((sizes[a], sizes[b]))[places[:, a], places[:, b]]
    joint = np.exp(log_share) / np.exp(log_share).sum()
    rate = np.zeros(len(places))
    for a, size in enumerate(sizes):
        rate += settings.oversampling * rng.standard_normal(size)[places[:, a]]
    sampling = joint * np.exp(rate) if settings.weighted else joint
    cells = np.stack([np.array(levels)[places[:, a]] for a, levels in enumerate(design.used)], axis=1)
    return cells.astype(np.int16), joint, sampling / sampling.sum()


def _generic(settings: SimulationSettings, rng: np.random.Generator) -> _Design:
    attributes = tuple(
        Attribute(name, short, name, name, tuple(AttributeLevel(f"{short} {level + 1}") for level in range(size)))
        for (name, short), size in zip(ATTRIBUTE_NAMES, settings.levels, strict=False)
    )
    items: list[Item] = []
    for place in range(30 if settings.items is None else settings.items):
        options = int(rng.choice(settings.options))
        nominal = bool(rng.random() < settings.nominal)
        codes = tuple(range(1, options + 1))
        items.append(
            Item(
                id=f"S{place + 1}",
                topic=f"Topic {place % TOPICS + 1}",
                level="binary" if options == 2 else "nominal" if nominal else "ordinal",
                codes=codes,
                labels=tuple(f"option {code}" for code in codes),
                question=f"Simulated question {place + 1}?",
                column=f"S{place + 1}",
            )
        )
    codebook = Codebook(GENERIC, "Simulated survey", "1", tuple(items), attributes, ())
    return _Design(codebook, tuple(items), attributes, tuple(tuple(range(len(a.levels))) for a in attributes))


def _wvs(settings: SimulationSettings, structure_rng: np.random.Generator, item_rng: np.random.Generator) -> _Design:
    codebook = load_codebook(WVS)
    country = _country(codebook, settings.country)
    pool = codebook.default_items
    count = len(pool) if settings.items is None else settings.items
    if count > len(pool):
        raise UsageError(f"{count} items were requested, but wvs7 has {len(pool)}; lower ", Option("items"), ".")
    chosen = np.sort(item_rng.permutation(len(pool))[:count])
    attributes: list[Attribute] = []
    used: list[tuple[int, ...]] = []
    for attribute in codebook.default_attributes:
        # Codes of country-specific levels start with the country code.
        here = [i for i, level in enumerate(attribute.levels) if not level.codes or level.codes[0] // 1000 in (0, country.code)]
        if attribute.name in ("ethnicity", "religion"):
            here = sorted(structure_rng.permutation(here)[:WVS_LEVELS].tolist())
        if len(here) > 1:
            attributes.append(attribute)
            used.append(tuple(here))
    return _Design(codebook, tuple(pool[i] for i in chosen), tuple(attributes), tuple(used), (country,))


def _country(codebook: Codebook, wanted: str) -> Country:
    for country in codebook.countries:
        if wanted.casefold() in (country.alpha.casefold(), country.name.casefold(), str(country.code)):
            return country
    raise UsageError(f"There is no country {wanted!r} in wvs7.{did_you_mean(wanted, [c.name for c in codebook.countries])}")


def _check_settings(settings: SimulationSettings) -> None:
    """Raise UsageError for the first setting that is out of range."""
    check_seed(settings.seed)
    check_seed(settings.structure_seed, "structure_seed")
    ranges: Sequence[tuple[str, bool, str]] = [
        ("survey", settings.survey in (GENERIC, WVS), f"{GENERIC!r} or {WVS!r}"),
        ("respondents", settings.respondents >= 1, "at least 1"),
        ("items", settings.items is None or settings.items >= 1, "at least 1"),
        ("options", bool(settings.options) and all(2 <= k <= 10 for k in settings.options), "numbers from 2 to 10"),
        ("nominal", 0 <= settings.nominal <= 1, "between 0 and 1"),
        ("levels", 1 <= len(settings.levels) <= len(ATTRIBUTE_NAMES) and min(settings.levels) >= 2, "one to five numbers, each at least 2"),
        ("main_effects", settings.main_effects >= 0, "a standard deviation of at least 0"),
        ("interactions", settings.interactions >= 0, "a standard deviation of at least 0"),
        ("association", settings.association >= 0, "a standard deviation of at least 0"),
        ("oversampling", settings.oversampling >= 0, "a standard deviation of at least 0"),
        ("common", 0 <= settings.common < 1, "a share of at least 0 and below 1"),
        ("traits", settings.traits >= 1, "at least 1"),
        ("missing", 0 <= settings.missing < 1, "a share of at least 0 and below 1"),
    ]
    for name, good, expected in ranges:
        if not good:
            raise UsageError(f"{name} is {getattr(settings, name)!r}; expected {expected}.")
