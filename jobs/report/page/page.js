"use strict";
// Sorts and filters the tables, and draws counts and boxes again from another score on. It writes text only, never HTML.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (id) => document.getElementById(id);

function value(cell) {
  const text = cell ? cell.textContent.trim() : "";
  const number = Number(text.replace(/[,%\u00d7]/g, "").split(" ")[0] || NaN);
  return { text, number };
}

function compare(a, b, rising) {
  if (isNaN(a.number) !== isNaN(b.number)) return isNaN(a.number) ? 1 : -1; // what has no number comes last
  const order = isNaN(a.number) ? a.text.localeCompare(b.text) : a.number - b.number;
  return rising ? order : -order;
}

function sortBy(table, head, column) {
  const rising = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("n"));
  all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = [...body.rows].filter((row) => !row.classList.contains("meanrow"));
  const keyed = rows.map((row) => [value(row.cells[column]), row]);
  keyed.sort((a, b) => compare(a[0], b[0], rising));
  keyed.forEach((pair) => body.append(pair[1]));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(table, head, column));
  });
  if (table.tBodies[0].rows.length < 12) return;
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  label.className = "filter";
  if (table.caption) input.setAttribute("aria-label", `filter by name: ${table.caption.textContent}`);
  label.append("filter by name ", input);
  table.parentNode.before(label);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of table.tBodies[0].rows)
      row.hidden = !row.classList.contains("meanrow") && !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
}

function makeSlider() {
  const data = JSON.parse(one("data").textContent);
  const [pick, role, score, operating, said] = ["pick", "role", "score", "operating", "said"].map(one);
  const rows = all("#counts tbody tr");
  const written = rows.map((row) => [...row.cells].map((cell) => cell.textContent));
  const middle = data.operating.filter((s) => s !== null).sort((a, b) => a - b);
  const start = middle.length ? middle[middle.length >> 1] : 0;
  let at = null; // place on the grid; null: each category's operating score
  score.value = Math.max(0, data.grid.findIndex((s) => s >= start));
  const limit = (c) => (at === null ? data.operating[c] ?? Infinity : data.grid[at]);
  const count = (number) => number.toLocaleString("en-US");

  function numbers(c) {
    const found = data.counts[c].map((by) => by[at]);
    return [...found, data.objects[c] - found[0]];
  }

  function drawCounts() {
    const total = new Array(rows[0].cells.length - 2).fill(0);
    rows.forEach((row, place) => {
      let texts = written[place].slice(1);
      if (at !== null) {
        const own = row.dataset.c === "" ? null : numbers(Number(row.dataset.c));
        if (own) own.forEach((number, i) => (total[i] += number));
        texts = [data.grid[at].toFixed(2), ...(own || total).map(count)];
      }
      texts.forEach((text, i) => (row.cells[i + 1].textContent = text));
    });
    if (at !== null) {
      const sum = rows.find((row) => row.dataset.c === "");
      total.forEach((number, i) => (sum.cells[i + 2].textContent = count(number)));
    }
  }

  function drawShots() {
    let shown = 0;
    for (const shot of all(".shot")) {
      const roles = shot.dataset.roles.split(" ");
      const wanted = roles.some((name) => {
        const [kind, category] = name.split("-");
        if (!kind || (role.value && role.value !== kind)) return false;
        return !pick.value || category === pick.value || (kind === "lot" && shot.querySelector(`[data-c="${pick.value}"]`));
      });
      shot.hidden = !wanted;
      if (!wanted) continue;
      shown += 1;
      const tally = { right: 0, wrong: 0, missed: 0 };
      for (const mark of all(".mark", shot)) {
        const lost = mark.classList.contains("missed");
        const s = "s" in mark.dataset ? Number(mark.dataset.s) : -Infinity;
        const seen = lost ? s < limit(mark.dataset.c) : s >= limit(mark.dataset.c);
        const other = pick.value && mark.dataset.c !== pick.value;
        mark.classList.toggle("off", !seen || Boolean(other));
        if (seen && !other) for (const name in tally) if (mark.classList.contains(name)) tally[name] += 1;
      }
      const words = `${tally.right} right \u00b7 ${tally.wrong} wrong \u00b7 ${tally.missed} missed`;
      shot.querySelector(".said").textContent = words;
      shot.querySelector("svg").setAttribute("aria-label", `${shot.querySelector(".key").textContent}: ${words}`);
    }
    if (one("none")) one("none").hidden = shown > 0;
  }

  function draw() {
    operating.setAttribute("aria-pressed", String(at === null));
    score.setAttribute("aria-valuetext", at === null ? "each category's own" : data.grid[at].toFixed(2));
    drawCounts();
    drawShots();
    const row = rows.find((entry) => entry.dataset.c === pick.value);
    const cells = [...row.cells].map((cell) => Number(cell.textContent.replace(/,/g, "")) || 0);
    const right = cells[2], missed = cells[cells.length - 1];
    const wrong = cells.slice(3, -1).reduce((a, b) => a + b, 0);
    const part = (a, b) => (a + b ? `${((100 * a) / (a + b)).toFixed(1)} %` : "\u2013");
    const from = at === null ? "best F1" : `from ${data.grid[at].toFixed(2)} on`;
    said.textContent = `${from}: ${count(right)} right, ${count(wrong)} wrong, ${count(missed)} missed; precision ${part(right, wrong)}, recall ${part(right, missed)}`;
  }

  score.addEventListener("input", () => { at = Number(score.value); draw(); });
  operating.addEventListener("click", () => { at = null; draw(); });
  pick.addEventListener("change", draw);
  role.addEventListener("change", draw);
  one("controls").hidden = false;
  draw();
}

all("table.sortable").forEach(makeSortable);
if (one("data")) makeSlider();
