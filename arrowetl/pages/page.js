// What a page does by itself: local times, a table that sorts, a document to download, paper on which nothing is folded.
"use strict";
const local = new Intl.DateTimeFormat(undefined, {
  weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
});
for (const time of document.querySelectorAll("time")) {
  time.title = time.textContent;
  time.textContent = local.format(new Date(time.dateTime));
}
for (const link of document.querySelectorAll("a[download]")) {
  const data = new Blob([document.getElementById("document").textContent], { type: "application/json" });
  link.href = URL.createObjectURL(data);
  link.hidden = false;
}
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
// Each heading sorts, the fields above it choose which rows are shown.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.trim();
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      // Numbers are asked for because they are large, names because they come first.
      const first = heading.classList.contains("n") ? "descending" : "ascending";
      const order = heading.ariaSort === first ? (first === "ascending" ? "descending" : "ascending") : first;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.ariaSort = order;
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
      });
      body.append(...rows);
    });
  });
  const words = document.getElementById("find");
  const status = document.getElementById("status");
  const shown = document.getElementById("shown");
  const choose = () => {
    let count = 0;
    for (const row of body.rows) {
      const fits = row.textContent.toLowerCase().includes(words.value.trim().toLowerCase());
      row.hidden = !(fits && (status.value === "" || row.dataset.what.split(" ").includes(status.value)));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${body.rows.length} tables`;
  };
  words.addEventListener("input", choose);
  status.addEventListener("change", choose);
  choose();
}
