// Marks of a chart are links. The Tab key stops once in each chart, and the arrow keys move between its marks.
for (const chart of document.querySelectorAll("figure svg")) {
  const marks = Array.from(chart.querySelectorAll("a[href]"));
  marks.forEach((mark, place) => mark.setAttribute("tabindex", place ? "-1" : "0"));
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const place = marks.indexOf(document.activeElement);
    if (!step || place < 0 || !marks[place + step]) return;
    event.preventDefault();
    marks[place].setAttribute("tabindex", "-1");
    marks[place + step].setAttribute("tabindex", "0");
    marks[place + step].focus();
  });
}
