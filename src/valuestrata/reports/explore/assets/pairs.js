// The pairs of the page: which of them match the filters, in which order, and their mean scores.
const OUTCOMES = { correct: "correct", wrong: "wrong", partly: "partly correct", none: "no answer", unasked: "not asked" };
const STATUSES = {
  refused: "refused", unparsed: "not recognised as an answer", invalid_code: "not an option of the item", failed: "the call failed",
};
// Order of outcomes when the table is sorted by answers.
const RANK = { unasked: 0, none: 1, wrong: 2, partly: 3, correct: 4 };

class Pairs {
  constructor(block) {
    this.block = block;
    Object.assign(this, block.document);
    const { item, subgroup } = block.columns;
    this.count = item.length;
    this.item = (pair) => this.items[item[pair]];
    this.subgroup = (pair) => this.subgroups[subgroup[pair]];
    this.starts = startsOf(Array.from(item, (place) => this.items[place].codes.length));
    this.words = this.items.map((one) => `${one.key} ${one.question}`.toLowerCase());
  }

  // Gold shares of a pair, or a run's distribution, given the column that holds it.
  shares(column, pair) {
    return Array.from(column.subarray(this.starts[pair], this.starts[pair + 1]), (value) => (value === NO_SHARE ? null : value / STEPS));
  }

  id(pair) {
    const half = this.view.halves ? (this.block.columns.half[pair] ? "_B" : "_A") : "";
    return `${this.item(pair).key}_${this.subgroup(pair).key}${half}`;
  }

  outcome(run, pair) {
    const { columns } = this.block;
    if (!columns[`asked${run}`][pair]) return "unasked";
    if (!columns[`valid${run}`][pair]) return "none";
    const score = columns[`accuracy${run}`][pair];
    return score === STEPS ? "correct" : score === 0 ? "wrong" : "partly";
  }

  // The outcome in words; an answer that is missing names its reason.
  said(run, pair) {
    const outcome = this.outcome(run, pair);
    if (outcome === "partly") {
      const asked = this.block.columns[`asked${run}`][pair];
      return `${Math.round(asked * this.share(`accuracy${run}`, pair))} of ${asked} answers correct`;
    }
    const status = outcome === "none" ? this.statuses[this.block.at(`status${run}`, pair)] : "";
    return STATUSES[status] || OUTCOMES[outcome];
  }

  answer(run, pair) {
    return this.block.at(`answer${run}`, pair);
  }

  share(name, pair) {
    const value = this.block.columns[name][pair];
    return value === NO_SHARE ? null : value / STEPS;
  }

  // Numbers of the pairs that match the filters; keys that do not exist match nothing.
  matching(filters) {
    const { columns } = this.block;
    const items = this.itemsMatching(filters);
    const groups = this.subgroupsMatching(filters);
    const found = [];
    for (let pair = 0; pair < this.count; pair += 1) {
      if (items[columns.item[pair]] && groups[columns.subgroup[pair]] && this.answersMatch(filters, pair)) found.push(pair);
    }
    return found;
  }

  itemsMatching({ item, topic, search, codes }) {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    return this.items.map((one, place) => (!item || one.key === item) && (!topic || this.topics[one.topic] === topic)
      && (!codes || one.codes.join(".") === codes) && words.every((word) => this.words[place].includes(word)));
  }

  subgroupsMatching({ subgroup, attribute }) {
    const stratum = this.strata.findIndex((one) => one.key === attribute);
    const level = this.levels.findIndex((one) => one.key === attribute);
    return this.subgroups.map((one) => (!subgroup || one.key === subgroup)
      && (!attribute || one.stratum === stratum || (level >= 0 && one.levels.includes(level))));
  }

  answersMatch({ run, versus, outcome, gold, answer }, pair) {
    if (gold && String(this.item(pair).codes[this.block.columns.mode[pair]]) !== gold) return false;
    if (answer) {
      const place = this.answer(run, pair);
      if (place === null || String(this.item(pair).codes[place]) !== answer) return false;
    }
    if (!outcome) return true;
    const first = this.outcome(run, pair);
    if (Object.keys(OUTCOMES).includes(outcome)) return first === outcome;
    if (versus === null) return false;
    const second = this.outcome(versus, pair);
    if (outcome === "first") return first === "correct" && second !== "correct";
    if (outcome === "second") return second === "correct" && first !== "correct";
    return outcome === "differ" && this.answer(run, pair) !== this.answer(versus, pair);
  }

  // Mean scores of a run over the pairs that it was asked.
  means(run, pairs) {
    const { columns } = this.block;
    let asked = 0, accuracy = 0, expected = 0;
    for (const pair of pairs) {
      if (!columns[`asked${run}`][pair]) continue;
      asked += 1;
      accuracy += columns[`accuracy${run}`][pair];
      expected += columns[`expected${run}`][pair];
    }
    return { asked, accuracy: asked ? accuracy / asked / STEPS : null, expected: asked ? expected / asked / STEPS : null };
  }

  ceiling(pairs) {
    let total = 0, known = 0;
    for (const pair of pairs) {
      const value = this.block.columns.ceiling[pair];
      if (value !== NO_SHARE) { total += value; known += 1; }
    }
    return known ? total / known / STEPS : null;
  }

  // Values to sort pairs by: a function of a pair for the column of the table with this name.
  sortKey(name, { run, versus }) {
    const { columns } = this.block;
    const number = (column) => (pair) => (column[pair] === NO_SHARE ? -1 : column[pair]);
    switch (name) {
      case "question": return (pair) => columns.item[pair];
      case "subgroup": return (pair) => columns.subgroup[pair];
      case "people": return (pair) => Math.max(...this.shares(columns.shares, pair));
      case "answer": return (pair) => RANK[this.outcome(run, pair)];
      case "expected": return number(columns[`expected${run}`]);
      case "answer2": return (pair) => RANK[this.outcome(versus ?? run, pair)];
      case "expected2": return number(columns[`expected${versus ?? run}`]);
      case "margin": return number(columns.margin);
      case "ceiling": return number(columns.ceiling);
      default: return null;
    }
  }

  sorted(pairs, name, descending, filters) {
    const key = this.sortKey(name, filters);
    if (key === null) return pairs;
    const keys = new Float64Array(this.count);
    for (const pair of pairs) keys[pair] = key(pair);
    const sign = descending ? -1 : 1;
    return pairs.slice().sort((one, other) => sign * (keys[one] - keys[other]) || one - other);
  }
}
