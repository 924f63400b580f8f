"use strict";
// Shows one task at a time. All text is set through textContent, so markup in answers is shown as text.

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

// One request at a time: keys pressed while a coding is being saved are ignored, not applied to the next task.
async function oneAtATime(work) {
  if (state.busy || state.finished) return;
  state.busy = true;
  try {
    await work();
    trouble("");
  } catch (error) {
    const unreachable = error instanceof TypeError;
    trouble(unreachable
      ? "The command that serves this page has ended. Your last answer was not saved. Start the command again to continue."
      : "Not saved: " + error.message);
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

// Ten keys: 1 to 9, then 0. Further options have no key.
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
    // Do not repeat a label that equals its key.
    if (key && label === verdict && key === verdict) {
      button.className = "bare";
    } else {
      button.append(label);
    }
    button.addEventListener("click", () => oneAtATime(() => answer(verdict)));
    box.append(button);
  }
}

async function show(place) {
  const task = await call(`task/${place}`);
  state.place = place;
  state.task = task;
  const number = `Task ${place + 1} of ${state.verdicts.length}`;
  const criterion = task.kind === "pairwise" ? task.criterion.charAt(0).toUpperCase() + task.criterion.slice(1) : "Stance";
  at("heading").replaceChildren(criterion);
  element("small", number, at("heading"));
  at("instruction").textContent = task.instruction;
  at("persona").textContent = task.persona;
  at("persona-row").hidden = !task.persona;
  at("question").textContent = task.question;
  at("ask").textContent = task.kind === "pairwise" ? "Which answer is better here?" : "Which option does the answer express?";
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
  at("done-heading").textContent = left ? `All tasks seen, ${skipped()} skipped` : "Done. Thank you.";
  at("done-text").textContent = left
    ? `${coded()} of ${total} tasks are coded. Skipped tasks count as not coded; you may leave them.`
    : `All ${total} tasks are coded and saved.\nFinish ends the command; then close this page.`;
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
  // When a coder revises a task, continue with the next task instead of the first open one.
  const revising = changed && place + 1 < state.verdicts.length && state.verdicts[place + 1] !== null;
  await goTo(revising ? place + 1 : nextOpen(place));
}

async function goTo(place) {
  if (place === -1) showDone();
  else await show(place);
}

// A changed note is saved when the coder moves on without a choice: with the existing verdict, else as a skip.
async function leave(place) {
  const { task } = state;
  if (noteNow() !== task.note) {
    const verdict = task.verdict === null ? "skip" : task.verdict;
    await call("answer", { code_id: task.code_id, verdict, note: noteNow() });
    if (task.verdict === null) state.verdicts[state.place] = verdict;
  }
  if (place >= state.verdicts.length) await goTo(nextOpen(-1));
  else if (place >= 0) await show(place);
}

async function reviewSkipped() {
  state.verdicts = state.verdicts.map((verdict) => (verdict === "skip" ? null : verdict));
  await goTo(nextOpen(-1));
}

async function finish() {
  const { left } = await call("finish", {});
  state.finished = true;
  at("done-heading").textContent = left ? "Stopped" : "Done. Thank you.";
  at("done-text").textContent = "Every answer is saved. This page can be closed." + (left ? ` ${left} tasks are not coded yet.` : "");
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
  oneAtATime(work);
}

document.addEventListener("keydown", onKey);
at("back").addEventListener("click", () => oneAtATime(() => leave(state.place - 1)));
at("forward").addEventListener("click", () => oneAtATime(() => leave(state.place + 1)));
at("skip").addEventListener("click", () => oneAtATime(() => answer("skip")));
at("review").addEventListener("click", () => oneAtATime(reviewSkipped));
at("again").addEventListener("click", () => oneAtATime(() => show(state.place)));
at("finish").addEventListener("click", () => oneAtATime(finish));

oneAtATime(async () => {
  const found = await call("overview");
  state.verdicts = found.verdicts;
  at("who").textContent = found.coder;
  document.title = `Coding: ${found.coder}`;
  await goTo(nextOpen(-1));
});
