"""Planted populations: surveys whose true subgroup shares are known exactly.

Every item has a latent standard normal scale, cut at thresholds. A respondent's cell (one level of every attribute) moves
the thresholds by planted main effects and interactions, so that the share of each option in each cell is a closed form.
Respondents have traits that several items load on; the latent scales of one respondent are correlated, their marginal
distributions are not touched, and the closed form holds. Answers are missing completely at random.

Three things are drawn, each by its own seed: the *structure* (who there is: attributes, their joint distribution, the
sampling design), the *population* (items: base shares, effects, loadings) and the *sample* (respondents and answers).
Populations of one structure and settings are draws from a superpopulation of items.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import Option, UsageError, did_you_mean
from valuestrata.files import canonical_hash
from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Country, Item, Missing, load_codebook
from valuestrata.survey.survey import Findings, Source, Survey

GENERIC = "simulated"
WVS = "wvs7"
# What a survey without a codebook of its own calls its attributes; only the first few are used.
ATTRIBUTE_NAMES = (("sex", "sex"), ("age_group", "age"), ("religion", "religion"), ("region", "region"), ("education", "education"))
TOPICS = 6
# How missing answers divide among the classes -1 to -5: mostly "don't know" and refusals, as in face-to-face surveys.
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
# Of a country's ethnic groups and of the religions so many are planted: more would leave cells under the minimum.
WVS_LEVELS = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SimulationSettings:
    """What is planted.

    Attributes:
        survey: `simulated` (generic items and attributes) or `wvs7` (items, scales and attributes of that codebook).
        country: of a wvs7 population: numeric code, alpha-3 code or name.
        respondents: sample size.
        items: number of items; None: 30 generic ones, or all default items of wvs7.
        options: numbers of options that generic items are drawn from, each from 2 to 10.
        nominal: share of the generic items of three and more options that are nominal.
        levels: numbers of levels of the generic attributes, at most five attributes.
        main_effects: standard deviation of the shift of an item's latent scale by a level of an attribute.
        interactions: the same of a pair of levels of two attributes.
        association: standard deviation of the log-linear association of two attributes' levels; 0 for independent ones.
        common: share of an item's latent variance that respondents' traits account for, 0 to below 1.
        traits: number of traits.
        missing: share of answers that are missing, 0 to below 1, divided among the classes as `MISSING_MIX`.
        weighted: some cells are oversampled and a weight undoes it.
        oversampling: standard deviation of the log sampling rate of each attribute's levels, where weighted.
        structure_seed, seed: of the structure and of the items (see the module).
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
    """Everything planted. C joint cells, A attributes, I items, K the largest number of options.

    Attributes:
        settings: behind it.
        codebook, items, attributes, countries: as a survey read from a file would have them.
        cells: int16, shape (C, A): level index of each joint cell in each attribute.
        joint: shape (C,), share of the population in each cell, sum 1.
        sampling: shape (C,), chance of a respondent to be of each cell, sum 1; differs from `joint` where weighted.
        base: shape (I, K), shares where no effect acts, 0 behind an item's last option.
        direction: shape (I, K), how an effect of 1 moves the log odds of each option of a nominal item; 0 for others.
        main: attribute -> shape (levels, I), shift of the latent scale.
        interactions: two attributes -> shape (levels, levels, I), shift on top of the main effects.
        loadings: shape (I, traits); squares add up to `settings.common`.
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
        """Shift of each item's latent scale in each cell, shape (C, I)."""
        place = {attribute.name: a for a, attribute in enumerate(self.attributes)}
        total = np.zeros((len(self.cells), len(self.items)))
        for name, effect in self.main.items():
            total += effect[self.cells[:, place[name]]]
        for (first, second), effect in self.interactions.items():
            total += effect[self.cells[:, place[first]], self.cells[:, place[second]]]
        return total

    @cached_property
    def thresholds(self) -> Floats:
        """Cuts of the latent standard normal scale in each cell, shape (C, I, K - 1); infinite behind the last option."""
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
class _Frame:
    """Codebook, items and countries, and the attributes with the level indices that are planted."""

    codebook: Codebook
    items: tuple[Item, ...]
    attributes: tuple[Attribute, ...]
    used: tuple[tuple[int, ...], ...]
    countries: tuple[Country, ...] = field(default=())


def plant(settings: SimulationSettings) -> Population:
    """Draw a population from the superpopulation that the settings describe.

    Raises:
        UsageError: a setting out of its range, more items than there are, or an unknown survey or country.
    """
    _refuse(settings)
    who = np.random.default_rng([settings.structure_seed, 0])
    what = np.random.default_rng([settings.seed, 1])
    frame = _wvs(settings, who, what) if settings.survey == WVS else _generic(settings, what)
    cells, joint, sampling = _structure(settings, frame, who)
    items, widest = len(frame.items), max(len(item.codes) for item in frame.items)
    base, direction = np.zeros((items, widest)), np.zeros((items, widest))
    for place, item in enumerate(frame.items):
        options = len(item.codes)
        base[place, :options] = what.dirichlet(np.full(options, BASE_CONCENTRATION))
        if item.level == "nominal":
            direction[place, :options] = what.standard_normal(options)
    # Drawn at unit size and scaled, so that populations of one seed differ in nothing but the size of their effects.
    sizes = [len(attribute.levels) for attribute in frame.attributes]
    main = {a.name: settings.main_effects * what.standard_normal((n, items)) for a, n in zip(frame.attributes, sizes, strict=True)}
    pairs = itertools.combinations(zip(frame.attributes, sizes, strict=True), 2)
    interactions = {(a.name, b.name): settings.interactions * what.standard_normal((n, m, items)) for (a, n), (b, m) in pairs}
    loadings = what.standard_normal((items, settings.traits))
    loadings *= np.sqrt(settings.common) / np.linalg.norm(loadings, axis=1, keepdims=True)
    return Population(
        settings=settings,
        codebook=frame.codebook,
        items=frame.items,
        attributes=frame.attributes,
        countries=frame.countries,
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
        population: what is planted.
        seed: of the sample; the population's own seeds play no part.
        respondents: sample size where it is not that of the settings.
    """
    settings = population.settings
    n = settings.respondents if respondents is None else respondents
    rng = np.random.default_rng([seed, 2])
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


def _structure(settings: SimulationSettings, frame: _Frame, rng: np.random.Generator) -> tuple[NDArray[np.int16], Floats, Floats]:
    """Return the joint cells, their shares of the population and their chances in the sample."""
    sizes = [len(levels) for levels in frame.used]
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
    cells = np.stack([np.array(levels)[places[:, a]] for a, levels in enumerate(frame.used)], axis=1)
    return cells.astype(np.int16), joint, sampling / sampling.sum()


def _generic(settings: SimulationSettings, rng: np.random.Generator) -> _Frame:
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
    return _Frame(codebook, tuple(items), attributes, tuple(tuple(range(len(a.levels))) for a in attributes))


def _wvs(settings: SimulationSettings, who: np.random.Generator, what: np.random.Generator) -> _Frame:
    codebook = load_codebook(WVS)
    country = _country(codebook, settings.country)
    pool = codebook.default_items
    count = len(pool) if settings.items is None else settings.items
    if count > len(pool):
        raise UsageError(f"{count} items are wanted, and wvs7 has {len(pool)}; lower ", Option("items"), ".")
    chosen = np.sort(what.permutation(len(pool))[:count])
    attributes: list[Attribute] = []
    used: list[tuple[int, ...]] = []
    for attribute in codebook.default_attributes:
        # Codes of the country's own levels start with its number; the other attributes are the same everywhere.
        here = [i for i, level in enumerate(attribute.levels) if not level.codes or level.codes[0] // 1000 in (0, country.code)]
        if attribute.name in ("ethnicity", "religion"):
            here = sorted(who.permutation(here)[:WVS_LEVELS].tolist())
        if len(here) > 1:
            attributes.append(attribute)
            used.append(tuple(here))
    return _Frame(codebook, tuple(pool[i] for i in chosen), tuple(attributes), tuple(used), (country,))


def _country(codebook: Codebook, wanted: str) -> Country:
    for country in codebook.countries:
        if wanted.casefold() in (country.alpha.casefold(), country.name.casefold(), str(country.code)):
            return country
    raise UsageError(f"There is no country {wanted!r} in wvs7.{did_you_mean(wanted, [c.name for c in codebook.countries])}")


def _refuse(settings: SimulationSettings) -> None:
    """Raise UsageError naming the first setting that is out of its range."""
    ranges: Sequence[tuple[str, bool, str]] = [
        ("survey", settings.survey in (GENERIC, WVS), f"{GENERIC!r} or {WVS!r}"),
        ("respondents", settings.respondents >= 1, "at least 1"),
        ("items", settings.items is None or settings.items >= 1, "at least 1"),
        ("options", bool(settings.options) and all(2 <= k <= 10 for k in settings.options), "numbers from 2 to 10"),
        ("nominal", 0 <= settings.nominal <= 1, "between 0 and 1"),
        ("levels", 1 <= len(settings.levels) <= len(ATTRIBUTE_NAMES) and min(settings.levels) >= 2, "one to five numbers, each 2 or more"),
        ("main_effects", settings.main_effects >= 0, "a standard deviation, 0 or more"),
        ("interactions", settings.interactions >= 0, "a standard deviation, 0 or more"),
        ("association", settings.association >= 0, "a standard deviation, 0 or more"),
        ("oversampling", settings.oversampling >= 0, "a standard deviation, 0 or more"),
        ("common", 0 <= settings.common < 1, "a share from 0 to below 1"),
        ("traits", settings.traits >= 1, "at least 1"),
        ("missing", 0 <= settings.missing < 1, "a share from 0 to below 1"),
        ("seed", min(settings.seed, settings.structure_seed) >= 0, "0 or more"),
    ]
    for name, good, expected in ranges:
        if not good:
            raise UsageError(f"{name} is {getattr(settings, name)!r}; expected {expected}.")
