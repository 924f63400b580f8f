// The explorer: reads its filters from the address, shows the pairs that match in a table, and one of them in a panel.
const at = (id) => document.getElementById(id);
const form = at("explore-filters"), summary = at("explore-summary"), table = at("explore-table"), note = at("explore-note");
// Not a property of the form: a field may be named like one of its methods.
const control = (name) => form.elements.namedItem(name);
const NUMBERS = ["expected", "expected2", "margin", "ceiling"];
const COLUMNS_OF_SECOND = ["answer2", "expected2"];

// The script of DataTables, allowed by its hash in the page's policy, puts its exports into `valuestrataTables`.
async function loadTables() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await unzipped(at("explore-library").textContent));
  document.head.append(script);
  return window.valuestrataTables.default;
}

function fill(select, first, groups) {
  select.replaceChildren(...(first === null ? [] : [element("option", { value: "", text: first })]));
  for (const [title, options] of groups) {
    const made = options.map(([value, text]) => element("option", { value, text }));
    if (title) select.append(element("optgroup", { label: title, children: made }));
    else select.append(...made);
  }
}

function fillFilters(pairs) {
  const kinds = [["Models", "model"], ["Controls", "control"], ["Baselines", "baseline"]];
  const runs = kinds.map(([title, kind]) => [title, pairs.runs.filter((run) => run.kind === kind).map((run) => [run.key, run.label])])
    .filter(([, options]) => options.length);
  fill(control("run"), null, runs);
  fill(control("versus"), "none", runs);
  fill(control("topic"), "all topics", [["", pairs.topics.map((topic) => [topic, topic])]]);
  fill(control("attribute"), "all attributes", [
    ["Attributes and their combinations", pairs.strata.map((one) => [one.key, one.title])],
    ["Levels", pairs.levels.map((one) => [one.key, one.title])],
  ]);
  const groups = pairs.strata.map((stratum, place) => [stratum.title,
    pairs.subgroups.filter((one) => one.stratum === place).map((one) => [one.key, one.title])]);
  fill(control("subgroup"), "all subgroups", groups);
  const items = pairs.topics.map((topic, place) => [topic,
    pairs.items.filter((one) => one.topic === place).map((one) => [one.key, clipped(`${one.key}: ${one.question}`, 90)])]);
  fill(control("item"), "all items", items);
}

class Explorer {
  constructor(pairs, blocks, DataTable) {
    this.pairs = pairs;
    this.detail = new Detail(at("explore-detail"), pairs, blocks);
    this.places = new Map(pairs.runs.map((run, place) => [run.key, place]));
    this.best = pairs.runs.findIndex((run) => run.best);
    this.filters = this.complete(readAddress() || Object.fromEntries(NAMES.map((name) => [name, ""])));
    this.rows = [];
    this.table = this.makeTable(DataTable);
    this.pairOf = new Map(Array.from({ length: pairs.count }, (_, pair) => [pairs.id(pair), pair]));
  }

  // The first run is shown if the address names none.
  complete(filters) {
    return { ...filters, run: filters.run || this.pairs.runs[0].key };
  }

  // Filters as the pairs need them: runs as numbers.
  get chosen() {
    const { run, versus } = this.filters;
    return { ...this.filters, run: this.places.get(run) ?? 0, versus: versus && versus !== run ? this.places.get(versus) ?? null : null };
  }

  makeTable(DataTable) {
    const names = Array.from(table.querySelectorAll("th"), (head) => head.dataset.name);
    const made = new DataTable(table, {
      serverSide: true,
      ajax: (request, give) => give(this.page(request, names)),
      columns: names.map((name) => ({
        data: null, name, className: NUMBERS.includes(name) ? "num" : "text", orderSequence: name === "question" || name === "subgroup" ? ["asc", "desc", ""] : ["desc", "asc", ""],
        render: (_, kind, pair) => (kind === "display" ? this.cell(name, pair) : pair),
      })),
      order: this.orderOf(names), searching: false, autoWidth: false, pageLength: 10, lengthMenu: [10, 25, 50, 100],
      layout: { topStart: null, topEnd: null, bottomStart: ["info", "pageLength"], bottomEnd: "paging" },
      language: { emptyTable: "No pair matches these filters.", zeroRecords: "No pair matches these filters.", info: "_START_ to _END_ of _TOTAL_ pairs", infoEmpty: "no pairs", infoFiltered: "", lengthMenu: "_MENU_ rows" },
      createdRow: (row, pair) => { row.classList.toggle("chosen", this.pairs.id(pair) === this.filters.pair); },
    });
    made.on("order", () => this.keepOrder(names));
    this.names = names;
    return made;
  }

  orderOf(names) {
    const column = names.indexOf(this.filters.sort.replace(/^-/, ""));
    return column < 0 ? [] : [[column, this.filters.sort.startsWith("-") ? "desc" : "asc"]];
  }

  keepOrder(names) {
    const [first] = this.table.order();
    const sort = first && first[1] ? (first[1] === "desc" ? "-" : "") + names[first[0]] : "";
    if (sort === this.filters.sort) return;
    this.filters.sort = sort;
    if (readAddress() !== null) history.replaceState(null, "", addressOf(this.filters));
  }

  page(request, names) {
    const [order] = request.order;
    const rows = order ? this.pairs.sorted(this.rows, names[order.column], order.dir === "desc", this.chosen) : this.rows;
    return {
      draw: request.draw, recordsTotal: this.pairs.count, recordsFiltered: rows.length,
      data: rows.slice(request.start, request.start + request.length),
    };
  }

  cell(name, pair) {
    const { pairs } = this, { run, versus } = this.chosen;
    const item = pairs.item(pair);
    const spoken = (which) => {
      const option = which === null ? null : pairs.answer(which, pair);
      return element("span", { children: [
        element("span", { text: option === null ? "–" : clipped(item.labels[option], 40) }),
        element("small", { text: which === null ? "" : pairs.said(which, pair) }),
      ] });
    };
    const number = (value) => element("span", { text: written(value) });
    switch (name) {
      case "question": return element("a", {
        href: addressOf({ ...this.filters, pair: pairs.id(pair) }), text: clipped(item.question || item.key, 90),
      });
      case "subgroup": return element("span", { text: pairs.subgroup(pair).title });
      case "people": {
        const mode = pairs.block.columns.mode[pair];
        return element("span", { children: [
          element("span", { text: clipped(item.labels[mode], 40) }),
          element("small", { text: percent(pairs.shares(pairs.block.columns.shares, pair)[mode]) }),
        ] });
      }
      case "answer": return spoken(run);
      case "answer2": return spoken(versus);
      case "expected": return number(pairs.share(`expected${run}`, pair));
      case "expected2": return number(versus === null ? null : pairs.share(`expected${versus}`, pair));
      default: return number(pairs.share(name, pair));
    }
  }

  // Show what the filters say: the form, the table, the summary and the panel.
  show() {
    const { pairs, chosen } = this;
    for (const name of ["run", "versus", "topic", "attribute", "subgroup", "item", "outcome", "search"]) {
      const field = control(name);
      if (document.activeElement !== field || name !== "search") field.value = this.filters[name];
    }
    for (const option of control("outcome").querySelectorAll("[data-two] option")) option.disabled = chosen.versus === null;
    this.rows = pairs.matching(chosen);
    this.title("answer", `Answer of ${pairs.runs[chosen.run].label}`);
    this.title("answer2", chosen.versus === null ? "" : `Answer of ${pairs.runs[chosen.versus].label}`);
    for (const name of COLUMNS_OF_SECOND) this.table.column(`${name}:name`).visible(chosen.versus !== null, false);
    this.table.order(this.orderOf(this.names)).draw();
    this.showSummary();
    this.showNote();
    this.showDetail();
  }

  title(name, text) {
    const head = this.table.column(`${name}:name`).header();
    (head.querySelector(".dt-column-title") || head).textContent = text;
  }

  showSummary() {
    const { pairs, rows } = this, { run, versus } = this.chosen;
    const sentences = [`${count(rows.length)} of ${count(pairs.count)} pairs.`];
    if (rows.length) {
      for (const which of [...new Set([run, versus, this.best])]) {
        if (which === null || which < 0) continue;
        const found = pairs.means(which, rows);
        const some = found.asked < rows.length ? ` on the ${count(found.asked)} pairs that it was asked` : "";
        const best = which === this.best ? "Best cheap baseline, " : "";
        sentences.push(found.asked === 0 ? `${best}${pairs.runs[which].label} was not asked.`
          : `${best}${pairs.runs[which].label}: accuracy ${written(found.accuracy)}, expected accuracy ${written(found.expected)}${some}.`);
      }
      sentences.push(`Mean ceiling of expected accuracy: ${written(pairs.ceiling(rows))}.`);
    }
    summary.replaceChildren(...sentences.map((text, place) => element(place ? "span" : "strong", { text: `${text} ` })));
  }

  // Filters that the form cannot show, and those that name something that this page does not have.
  showNote() {
    const { codes, gold, answer } = this.filters, parts = [];
    const known = { run: this.places.has(this.filters.run), versus: !this.filters.versus || this.places.has(this.filters.versus) };
    for (const name of ["topic", "attribute", "subgroup", "item", "outcome"]) known[name] = !this.filters[name] || control(name).value === this.filters[name];
    for (const [name, found] of Object.entries(known)) if (!found) parts.push(`This page has no ${name === "versus" ? "run" : name} “${this.filters[name]}”.`);
    if (this.filters.pair && !this.pairOf.has(this.filters.pair)) parts.push(`This page has no pair “${this.filters.pair}”.`);
    if (codes) parts.push(`Only items with the codes ${codes.split(".").join(", ")}.`);
    if (gold) parts.push(`Only pairs whose most common answer has code ${gold}.`);
    if (answer) parts.push(`Only pairs to which ${this.pairs.runs[this.chosen.run].label} answered with code ${answer}.`);
    note.textContent = parts.join(" ");
    note.hidden = !parts.length;
  }

  showDetail() {
    const pair = this.pairOf.get(this.filters.pair), { run, versus } = this.chosen;
    if (pair === undefined) {
      this.detail.close();
      return;
    }
    const runs = [...new Set([run, versus, this.best])].filter((which) => which !== null && which >= 0);
    this.detail.show(pair, runs, () => this.closeDetail());
  }

  closeDetail() {
    const { pair } = this.filters;
    this.change({ pair: "" });
    const link = Array.from(table.querySelectorAll("a")).find((one) => new URLSearchParams(one.hash.split("?")[1]).get("pair") === pair);
    (link || control("run")).focus();
  }

  // Change filters from within the page. `quietly` keeps the number of steps of the back button, as while typing.
  change(changes, quietly = false) {
    Object.assign(this.filters, changes);
    const address = addressOf(this.filters);
    if (quietly) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    this.show();
  }

  // The address has changed: a link was followed, or the back button was used.
  follow() {
    const given = readAddress();
    if (given === null) return;
    const arrived = !given.pair;
    this.filters = this.complete(given);
    this.show();
    if (arrived) at("explore").scrollIntoView();
  }
}

async function start() {
  const blocks = new Blocks(at("explore-data").textContent);
  const [block, DataTable] = await Promise.all([blocks.get("pairs"), loadTables()]);
  const pairs = new Pairs(block);
  fillFilters(pairs);
  at("explorer").hidden = false;
  const explorer = new Explorer(pairs, blocks, DataTable);
  explorer.show();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => {
    if (target.name !== "search") explorer.change({ [target.name]: target.value, pair: "" });
  });
  control("search").addEventListener("input", ({ target }) => explorer.change({ search: target.value, pair: "" }, true));
  at("explore-clear").addEventListener("click", () => explorer.change(
    Object.fromEntries(NAMES.filter((name) => name !== "run").map((name) => [name, ""]))));
  addEventListener("popstate", () => explorer.follow());
  if (location.hash.startsWith("#explore")) at("explore").scrollIntoView();
  performance.mark("explorer-ready");
}

if ("DecompressionStream" in window) {
  start().catch((error) => {
    at("explore-trouble").textContent = `The explorer could not be shown: ${error.message}. The tables of this page can be read without it.`;
    at("explore-trouble").hidden = false;
    throw error;
  });
} else {
  at("explore-trouble").textContent = "This browser is too old for the explorer, which needs DecompressionStream (Chrome 80, Firefox 113, Safari 16.4 or newer). The tables of this page can be read without it.";
  at("explore-trouble").hidden = false;
}
