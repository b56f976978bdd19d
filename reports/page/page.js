// --- what all parts use ---

const byId = (id) => document.getElementById(id);

/** An element with its attributes and children. A string becomes text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// --- tables that can be sorted ---

const ABSENT = new Set(["", "–"]);

/** What a row is sorted by: a number, else the text; null where it has none. */
function sortKey(row, column) {
  const cell = row.cells[column];
  const text = cell ? (cell.dataset.sort ?? cell.textContent).trim() : "";
  if (ABSENT.has(text)) return null;
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}

/** Order of two keys; what is absent comes last whichever way the column is sorted. */
function compareKeys(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

const NEXT_ORDER = { none: "ascending", ascending: "descending", descending: "none" };

/** Sort by a column: upwards, then downwards, then as it was. Headings among the rows stay where they are. */
function sortBy(rows, head, column) {
  const order = NEXT_ORDER[head.getAttribute("aria-sort") ?? "none"];
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  if (order !== "none") head.setAttribute("aria-sort", order);
  for (const [body, original] of rows) {
    const sign = { none: 0, ascending: 1, descending: -1 }[order];
    const keyed = original.map((row) => ({ row, key: sign && sortKey(row, column) }));
    if (sign) keyed.sort((a, b) => compareKeys(a.key, b.key, sign));
    body.append(...keyed.map(({ row }) => row));
  }
}

/** Make a button of each column's head. */
function makeSortable(table) {
  const isHeading = (row) => row.cells.length === 1 && row.cells[0].colSpan > 1;
  const rows = [...table.tBodies].map((body) => [body, [...body.rows].filter((row) => !isHeading(row))]);
  const heads = table.tHead?.rows[table.tHead.rows.length - 1]?.cells ?? [];
  [...heads].forEach((head, column) => {
    if (head.tagName !== "TH") return;
    const button = make("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => sortBy(rows, head, column));
    head.append(button);
  });
}

document.querySelectorAll("main table").forEach(makeSortable);


// --- texts that can be copied ---

/** Put a button before a text that copies it; the text is selected where the browser refuses the clipboard. */
function makeCopied(area) {
  const button = make("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    area.select();
    try {
      await navigator.clipboard.writeText(area.value);
      button.textContent = "Copied";
    } catch {
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
    }
  });
  area.before(button);
}

document.querySelectorAll(".copies textarea").forEach(makeCopied);

