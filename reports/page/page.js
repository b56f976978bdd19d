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
  const text = cell ? (cell.dataset.value ?? cell.textContent).trim() : "";
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

function sortBy(table, head, column) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].map((row) => ({ row, key: sortKey(row, column) }));
    rows.sort((a, b) => compareKeys(a.key, b.key, descending ? -1 : 1));
    body.append(...rows.map(({ row }) => row));
  }
}

/** Make a button of each column's head. */
function makeSortable(table) {
  const heads = table.tHead?.rows[table.tHead.rows.length - 1]?.cells ?? [];
  [...heads].forEach((head, column) => {
    const button = make("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => sortBy(table, head, column));
    head.append(button);
  });
}

document.querySelectorAll("main table").forEach(makeSortable);

