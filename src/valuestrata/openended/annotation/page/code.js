"use strict";
// One task at a time. Text reaches the page through textContent only, so that an answer that holds markup is shown as written.

const at = (id) => document.getElementById(id);
const state = { verdicts: [], place: 0, task: null, busy: false, finished: false };

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const reply = await fetch(path, options);
  const found = await reply.json();
  if (!reply.ok) throw new Error(found.error || reply.statusText);
  return found;
}

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

// One thing after another: keys pressed while an answer is on its way are dropped, not stacked up against the next task.
async function alone(work) {
  if (state.busy || state.finished) return;
  state.busy = true;
  try {
    await work();
    trouble("");
  } catch (error) {
    const unreachable = error instanceof TypeError;
    trouble(unreachable
      ? "The command that serves this page has ended. Your last answer was not kept; start the command again to go on."
      : "Not kept: " + error.message);
  } finally {
    state.busy = false;
  }
}

const coded = () => state.verdicts.filter((verdict) => verdict !== null && verdict !== "skip").length;
const skipped = () => state.verdicts.filter((verdict) => verdict === "skip").length;

function nextOpen(after) {
  const total = state.verdicts.length;
  for (let step = 1; step <= total; step += 1) {
    const place = (after + step + total) % total;
    if (state.verdicts[place] === null) return place;
  }
  return -1;
}

function showProgress() {
  const total = state.verdicts.length;
  at("progress").max = Math.max(total, 1);
  at("progress").value = coded();
  at("progress").textContent = `${coded()} of ${total}`;
  at("count").textContent = `${coded()} of ${total} coded` + (skipped() ? `, ${skipped()} skipped` : "");
}

function choicesOf(task) {
  if (task.kind === "pairwise") {
    return [["1", "1", "Answer 1"], ["tie", "t", "No difference"], ["2", "2", "Answer 2"]];
  }
  const options = task.options.map((label, index) => [String(index + 1), keyOf(index), label]);
  return [...options, ["none", "n", "Takes no stance"]];
}

// Ten keys: 1 to 9, then 0. Longer scales are clicked.
const keyOf = (index) => (index < 9 ? String(index + 1) : index === 9 ? "0" : "");

function element(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
}

function showAnswers(task) {
  at("answers").replaceChildren();
  task.answers.forEach((text, index) => {
    const card = document.createElement("article");
    element("h2", task.kind === "pairwise" ? `Answer ${index + 1}` : "Answer", card);
    element("p", text, card);
    at("answers").append(card);
  });
}

function showChoices(task) {
  const box = at("choices");
  box.className = task.kind;
  box.replaceChildren();
  for (const [verdict, key, label] of choicesOf(task)) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.verdict = verdict;
    button.dataset.key = key;
    button.setAttribute("aria-pressed", String(task.verdict === verdict));
    if (key) {
      button.setAttribute("aria-keyshortcuts", key);
      element("kbd", key, button);
    }
    // An option that is called by its own number needs no second one, unless it is without a key.
    if (key && label === verdict && key === verdict) {
      button.className = "bare";
    } else {
      button.append(label);
    }
    button.addEventListener("click", () => alone(() => answer(verdict)));
    box.append(button);
  }
}

async function show(place) {
  const task = await call(`task/${place}`);
  state.place = place;
  state.task = task;
  const number = `Task ${place + 1} of ${state.verdicts.length}`;
  const criterion = task.kind === "pairwise" ? task.criterion.charAt(0).toUpperCase() + task.criterion.slice(1) : "Reading a stance";
  at("heading").replaceChildren(criterion);
  element("small", number, at("heading"));
  at("instruction").textContent = task.instruction;
  at("persona").textContent = task.persona;
  at("persona-row").hidden = !task.persona;
  at("question").textContent = task.question;
  at("ask").textContent = task.kind === "pairwise" ? "Which answer is better here?" : "What does the answer say?";
  at("note").value = task.note;
  showAnswers(task);
  showChoices(task);
  at("skip").setAttribute("aria-pressed", String(task.verdict === "skip"));
  at("back").disabled = place === 0;
  at("done").hidden = true;
  at("task").hidden = false;
  showProgress();
  window.scrollTo(0, 0);
  at("heading").focus({ preventScroll: true });
  const before = task.verdict === null ? "" : task.verdict === "skip" ? ", skipped before" : `, coded ${task.verdict} before`;
  at("live").textContent = number + before;
}

function showDone() {
  const total = state.verdicts.length;
  const left = total - coded();
  at("task").hidden = true;
  at("done").hidden = false;
  at("done-heading").textContent = left ? `All seen, ${skipped()} skipped` : "Done. Thank you.";
  at("done-text").textContent = left
    ? `${coded()} of ${total} tasks are coded. Skipped tasks may stay skipped: they count as not coded.`
    : `All ${total} tasks are coded, and every answer is saved.\nFinish ends the command; this page can then be closed.`;
  at("review").hidden = !skipped();
  showProgress();
  at("done-heading").focus();
  at("live").textContent = at("done-heading").textContent;
}

const noteNow = () => at("note").value.trim().replace(/\s+/g, " ");

async function answer(verdict) {
  const place = state.place;
  await call("answer", { code_id: state.task.code_id, verdict, note: noteNow() });
  const changed = state.verdicts[place] !== null;
  state.verdicts[place] = verdict;
  // Who goes through tasks again wants the one behind, and not the first open one.
  const behind = changed && place + 1 < state.verdicts.length && state.verdicts[place + 1] !== null;
  await onward(behind ? place + 1 : nextOpen(place));
}

async function onward(place) {
  if (place === -1) showDone();
  else await show(place);
}

// A note is kept when one moves on without choosing: behind the verdict there is, else behind a skip, which asks for none.
async function leave(place) {
  const { task } = state;
  if (noteNow() !== task.note) {
    const verdict = task.verdict === null ? "skip" : task.verdict;
    await call("answer", { code_id: task.code_id, verdict, note: noteNow() });
    if (task.verdict === null) state.verdicts[state.place] = verdict;
  }
  if (place >= state.verdicts.length) await onward(nextOpen(-1));
  else if (place >= 0) await show(place);
}

async function reviewSkipped() {
  state.verdicts = state.verdicts.map((verdict) => (verdict === "skip" ? null : verdict));
  await onward(nextOpen(-1));
}

async function finish() {
  const { left } = await call("finish", {});
  state.finished = true;
  at("done-heading").textContent = left ? "Stopped" : "Done. Thank you.";
  at("done-text").textContent = "Every answer is saved. This page can be closed." + (left ? ` ${left} tasks are left for another time.` : "");
  document.querySelectorAll("#done button").forEach((button) => { button.hidden = true; });
  at("done-heading").focus();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  if (event.target === at("note")) {
    if (event.key === "Escape") at("heading").focus();
    return;
  }
  if (at("task").hidden) return;
  const button = [...at("choices").children].find((one) => one.dataset.key && one.dataset.key === event.key.toLowerCase());
  const actions = { s: () => answer("skip"), ArrowLeft: () => leave(state.place - 1), ArrowRight: () => leave(state.place + 1) };
  const work = button ? () => answer(button.dataset.verdict) : actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!work) return;
  event.preventDefault();
  alone(work);
}

document.addEventListener("keydown", onKey);
at("back").addEventListener("click", () => alone(() => leave(state.place - 1)));
at("forward").addEventListener("click", () => alone(() => leave(state.place + 1)));
at("skip").addEventListener("click", () => alone(() => answer("skip")));
at("review").addEventListener("click", () => alone(reviewSkipped));
at("again").addEventListener("click", () => alone(() => show(state.place)));
at("finish").addEventListener("click", () => alone(finish));

alone(async () => {
  const found = await call("overview");
  state.verdicts = found.verdicts;
  at("who").textContent = found.coder;
  document.title = `Coding: ${found.coder}`;
  await onward(nextOpen(-1));
});
