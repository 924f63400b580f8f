// The panel of one pair: who was asked what, how people and runs answered, and each response with its prompt.
class Detail {
  constructor(panel, pairs, blocks) {
    this.panel = panel;
    this.pairs = pairs;
    this.blocks = blocks;
    this.shown = "";
  }

  close() {
    this.panel.hidden = true;
    this.panel.replaceChildren();
    this.shown = "";
  }

  // Show a pair; `runs` are those to compare, then the best baseline.
  async show(pair, runs, closing) {
    const wanted = `${pair} ${runs}`;
    if (this.shown === wanted) return;
    this.shown = wanted;
    const [stated, responses] = await Promise.all([
      Promise.all(runs.map((run) => this.blocks.get(`probabilities${run}`))),
      Promise.all(runs.map((run) => this.responses(run, pair))),
    ]);
    // Another pair may have been chosen in the meantime.
    if (this.shown !== wanted) return;
    const close = element("button", { type: "button", text: "Close", class: "close" });
    close.addEventListener("click", closing);
    this.panel.replaceChildren(
      element("h3", { id: "explore-pair", tabindex: "-1", text: this.pairs.item(pair).question || this.pairs.item(pair).key }),
      close,
      this.facts(pair),
      this.distributions(pair, runs, stated),
      ...runs.map((run, place) => this.run(run, pair, responses[place])),
      this.everyRun(pair),
    );
    this.panel.hidden = false;
    this.panel.querySelector("h3").focus({ preventScroll: true });
    this.panel.scrollIntoView({ block: "nearest" });
  }

  facts(pair) {
    const { pairs } = this;
    const item = pairs.item(pair), group = pairs.subgroup(pair);
    const small = pairs.block.columns.small[pair] ? " (few, so the shares are uncertain)" : "";
    const rows = [
      ["Subgroup", `${group.title} (${count(group.n)} respondents)`],
      ["Item", `${item.key}, topic ${pairs.topics[item.topic] || "none"}`],
      ["Valid answers", `${count(pairs.block.columns.n[pair])}${small}`],
      ["Margin", `${written(pairs.share("margin", pair))} between the two most common answers`],
      ["Ceiling", `${written(pairs.share("ceiling", pair))} expected accuracy of someone who knows the population`],
    ];
    if (pairs.view.halves) rows.push(["Respondents", `half ${pairs.block.columns.half[pair] ? "B" : "A"}`]);
    return element("dl", { children: rows.flatMap(([head, text]) => [element("dt", { text: head }), element("dd", { text })]) });
  }

  distributions(pair, runs, stated) {
    const { pairs } = this;
    const item = pairs.item(pair), mode = pairs.block.columns.mode[pair];
    const columns = [{ name: "People", shares: pairs.shares(pairs.block.columns.shares, pair), marked: mode, mark: "●", said: "most common answer" }];
    runs.forEach((run, place) => columns.push({
      name: pairs.runs[run].label,
      shares: stated[place] === null ? item.codes.map(() => null) : pairs.shares(stated[place].columns.shares, pair),
      marked: pairs.answer(run, pair), mark: "▸", said: "answer of the run",
    }));
    const head = element("tr", { children: [
      element("th", { scope: "col", class: "text", text: "Option" }),
      ...columns.map((column) => element("th", { scope: "col", class: "text", text: column.name })),
    ] });
    const rows = item.labels.map((label, option) => element("tr", { children: [
      element("th", { scope: "row", class: "text", text: label }),
      ...columns.map((column) => this.share(column, option)),
    ] }));
    const table = element("table", { class: "shares", children: [element("thead", { children: [head] }), element("tbody", { children: rows })] });
    const frame = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Distributions of answers", children: [table] });
    const reading = "● most common answer of people, ▸ answer of the run. Shares of a run are the probabilities that it states, or the "
      + "shares of its answers if it was asked several times.";
    return element("div", { children: [element("p", { class: "quiet", text: reading }), frame] });
  }

  share(column, option) {
    const share = column.shares[option];
    const marked = column.marked === option;
    const bar = element("span", { class: "fill" });
    bar.style.width = `${100 * (share || 0)}%`;
    return element("td", { class: "text", children: [
      element("span", { class: "mark", "aria-hidden": "true", text: marked ? column.mark : "" }),
      element("span", { class: "share", text: percent(share) }),
      ...(marked ? [element("span", { class: "hidden", text: ` ${column.said}` })] : []),
      ...(share === null ? [] : [element("span", { class: "track", "aria-hidden": "true", children: [bar] })]),
    ] });
  }

  // The responses of a run to a pair that the page has, as texts.
  async responses(run, pair) {
    const [records, texts, prompts] = await Promise.all(
      [`responses${run}`, `texts${run}`, "prompts"].map((name) => this.blocks.get(name)));
    const kept = this.pairs.block.columns[`kept${run}`];
    this.firsts ??= new Map();
    if (!this.firsts.has(run)) this.firsts.set(run, startsOf(kept));
    const first = this.firsts.get(run)[pair];
    return Array.from({ length: kept[pair] }, (_, place) => this.response(run, first + place, records, texts, prompts));
  }

  response(run, at, records, texts, prompts) {
    return {
      status: this.pairs.statuses[records.columns.status[at]],
      code: records.at("code", at) === null ? null : records.at("code", at) + records.document.least,
      facts: this.usage(records, at),
      text: texts === null ? undefined : texts.text("text", at),
      reasoning: texts === null ? undefined : texts.text("reasoning", at),
      error: texts === null ? undefined : texts.text("error", at),
      prompt: prompts === null ? undefined : this.prompt(prompts, prompts.at(`run${run}`, at)),
    };
  }

  usage(records, at) {
    const tokens = ["prompt_tokens", "completion_tokens"].map((name) => records.at(name, at));
    const cost = records.at("cost", at);
    const paraphrase = records.at("paraphrase", at), sample = records.at("sample", at);
    return [
      records.text("elicitation", at),
      records.text("template", at) && `template ${records.text("template", at)}`,
      records.text("order", at) && `options ${records.text("order", at)}`,
      paraphrase ? `paraphrase ${paraphrase}` : null,
      sample ? `sample ${sample}` : null,
      tokens[0] === null ? null : `${count(tokens[0])} tokens in`,
      tokens[1] === null ? null : `${count(tokens[1])} tokens out`,
      cost === null ? null : `$${cost === 0 ? "0" : cost.toPrecision(2)}`,
    ].filter(Boolean).join(" · ");
  }

  prompt(prompts, number) {
    if (number === null) return null;
    prompts.ofPrompts ??= startsOf(prompts.columns.messages);
    prompts.ofMessages ??= startsOf(prompts.columns.parts);
    const messages = prompts.columns.message.subarray(prompts.ofPrompts[number], prompts.ofPrompts[number + 1]);
    return Array.from(messages, (message) => ({
      role: prompts.document.roles[prompts.columns.role[message]],
      text: Array.from(prompts.columns.part.subarray(prompts.ofMessages[message], prompts.ofMessages[message + 1]),
        (part) => prompts.document.paragraphs[part]).join("\n\n"),
    }));
  }

  run(run, pair, responses) {
    const { pairs } = this;
    const asked = pairs.block.columns[`asked${run}`][pair];
    const score = asked ? `${pairs.said(run, pair)}, expected accuracy ${written(pairs.share(`expected${run}`, pair))}` : "not asked";
    const children = [element("h4", { text: pairs.runs[run].label }), element("p", { text: `Outcome: ${score}.` })];
    if (asked > responses.length) children.push(element("p", { class: "quiet", text: `The first ${responses.length} of ${count(asked)} responses:` }));
    for (const one of responses) children.push(...this.told(one, pairs.item(pair), pairs.runs[run].kind));
    return element("section", { class: "one-run", "aria-label": pairs.runs[run].label, children });
  }

  told(response, item, kind) {
    const label = response.code === null ? "" : item.labels[item.codes.indexOf(response.code)];
    const status = response.status === "answered" ? `Answered: ${label || "no option"}` : `Status: ${STATUSES[response.status]}`;
    const made = [element("p", { children: [element("b", { text: status }), element("span", { class: "quiet", text: ` ${response.facts}` })] })];
    if (response.error) made.push(element("p", { class: "quiet", text: `Reason: ${response.error}` }));
    if (response.reasoning) made.push(element("blockquote", { "data-raw": "reasoning", text: response.reasoning }));
    if (response.text) made.push(element("blockquote", { "data-raw": "text", text: response.text }));
    if (response.prompt === null && kind !== "baseline") {
      made.push(element("p", { class: "quiet", text: "The prompt is not shown: it cannot be rendered as it was, or none was recorded." }));
    }
    if (response.prompt) {
      const messages = response.prompt.map((message) => element("pre", { "data-role": message.role, text: response.prompt.length > 1 ? `${message.role}:\n${message.text}` : message.text }));
      made.push(element("details", { children: [element("summary", { text: "What the model was shown" }), ...messages] }));
    }
    return made;
  }

  everyRun(pair) {
    const { pairs } = this;
    const rows = pairs.runs.map((run, place) => {
      const option = pairs.answer(place, pair);
      return element("tr", { children: [
        element("th", { scope: "row", class: "text", text: run.label }),
        element("td", { class: "text", text: option === null ? "–" : pairs.item(pair).labels[option] }),
        element("td", { class: "text", text: pairs.said(place, pair) }),
        element("td", { class: "num", text: written(pairs.share(`expected${place}`, pair)) }),
      ] });
    });
    const heads = ["Run", "Answer", "Outcome", "Expected accuracy"];
    const head = element("tr", { children: heads.map((text, place) => element("th", { scope: "col", class: place < 3 ? "text" : null, text })) });
    const table = element("table", { children: [element("thead", { children: [head] }), element("tbody", { children: rows })] });
    const frame = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Answers of all runs", children: [table] });
    return element("details", { children: [element("summary", { text: `Answers of all ${pairs.runs.length} runs` }), frame] });
  }
}
