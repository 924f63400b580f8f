"use strict";
// Updates the rows of running runs until all have ended.
const seconds = 3;
const atWork = () => [...document.querySelectorAll("tr[data-running]")];
function show(row, cells) {
  for (const name of ["answered", "state", "failed", "cost", "changed"]) {
    row.querySelector(`[data-cell=${name}]`).textContent = cells[name];
  }
  const bar = row.querySelector("[data-cell=bar]");
  bar.hidden = cells.max === null;
  bar.max = cells.max ?? Math.max(1, cells.value);
  bar.value = cells.value;
  row.toggleAttribute("data-running", cells.running);
}
function say(text) {
  const line = document.getElementById("live");
  line.textContent = text;
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = "Reload the list";
  line.append(" ", link);
}
async function follow() {
  const rows = atWork();
  const asked = new URLSearchParams(rows.map(row => ["run", row.dataset.run]));
  try {
    const reply = await fetch(`/progress?${asked}`);
    if (!reply.ok) throw new Error(String(reply.status));
    const found = await reply.json();
    for (const row of rows) {
      if (found[row.dataset.run]) show(row, found[row.dataset.run]);
      else row.removeAttribute("data-running");
    }
  } catch {
    say("The server does not answer. If you stopped it, start it again.");
    return;
  }
  if (atWork().length) setTimeout(follow, 1000 * seconds);
  else say("The runs on this page have ended.");
}
setTimeout(follow, 1000 * seconds);
