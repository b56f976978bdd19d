// --- the reader: what is asked for, a page of it, and the veil ---

/** A text that is in the page only while it is shown: a veiled one cannot be read, selected, found or heard. */
function veiled(reader, key, text, leftOut, of) {
  const id = `${reader.task.name}.${key}`;
  if (text === "") return make("span", { class: "quiet" }, "(empty)");
  if (reader.showsAll || reader.shown.has(id)) {
    const again = reader.showsAll ? null : make("button", { type: "button", class: "again" }, "veil", make("span", { class: "aside" }, ` the text ${of}`));
    const note = leftOut ? make("span", { class: "quiet" }, ` … ${leftOut.toLocaleString("en")} characters more are left out`) : null;
    const box = make("span", {}, make("bdi", { class: "text" }, text), note, again);
    again?.addEventListener("click", () => toggle(box, false));
    return box;
  }
  const count = text.length + (leftOut ?? 0);
  const button = make("button", { type: "button", class: "veil" },
    make("span", {}, `show ${count.toLocaleString("en")} ${count === 1 ? "character" : "characters"}`), make("span", { class: "aside" }, ` ${of}`));
  button.addEventListener("click", () => toggle(button, true));
  return button;

  function toggle(element, show) {
    if (show) reader.shown.add(id);
    else reader.shown.delete(id);
    const other = veiled(reader, key, text, leftOut, of);
    element.replaceWith(other);
    (show ? other.querySelector("button") : other).focus();
  }
}

/** The data: base64 of gzip of JSON, in an element that is not run. */
async function unpack() {
  const source = atob(byId("data").textContent);
  const bytes = new Uint8Array(source.length);
  for (let n = 0; n < source.length; n += 1) bytes[n] = source.charCodeAt(n);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** What samples can be ordered by. */
const orders = ({ adjective, lowerIsWanted }) => ({
  texts: { record: "as recorded", worst: `${lowerIsWanted ? "most" : "least"} ${adjective} first`, change: "largest change first", rise: "largest rise first", fall: "largest fall first" },
  questions: { record: "as recorded", flips: "most flipped first", lost: "most lost first" },
});
const OWN = "own"; // compared with what the system's own model has for a reference, where there are several models
const NEEDS_REFERENCE = new Set(["change", "rise", "fall", "flips", "lost"]);
/** The kinds of continuations: those that reach the threshold, and those that do not. */
const kindNames = ({ adjective }) => ({ any: "all", reaching: adjective, below: `not ${adjective}`, failed: "not scored" });
const FLIP_NAMES = { "": "all", flipped: "flipped", lost: "lost: right before", gained: "gained: wrong before" };

function fill(select, names) {
  select.replaceChildren(...Object.entries(names).map(([value, name]) => make("option", { value }, name)));
}

/** Where a prompt or a question is: its task and its id, after the #. */
const placeOf = (task, item) => `sample=${encodeURIComponent(task.name)}/${encodeURIComponent(task.ids[item])}`;

function linkTo(task, item) {
  const place = placeOf(task, item);
  return make("a", { class: "link", id: place, href: `#${place}`, title: "link to this one" }, "#");
}

class Reader {
  constructor(data) {
    this.data = data;
    this.shown = new Set();
    this.showsAll = false;
    this.page = 0;
    this.form = byId("controls");
    fill(byId("task"), data.tasks.map((task) => task.name));
    fill(byId("reference"), { ...data.systems });
    if (data.own) byId("reference").prepend(make("option", { value: OWN }, "that of its own model"));
    byId("reference").prepend(make("option", { value: "" }, "nothing"));
    byId("reference").value = data.own ? OWN : data.reference ?? "";
    fill(byId("kind"), kindNames(data));
    fill(byId("flips"), FLIP_NAMES);
    byId("systems").append(...data.systems.map((name, value) =>
      make("label", {}, make("input", { type: "checkbox", value, checked: true }), " ", make("bdi", {}, name))));
    this.listen();
    this.form.hidden = byId("pager").hidden = false;
    this.openTask();
  }

  listen() {
    let timer = null;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", (event) => { event.preventDefault(); this.clear(); });
    this.form.addEventListener("input", ({ target }) => {
      clearTimeout(timer);
      if (target.id === "task") this.openTask();
      else if (target.id === "unveil") { this.showsAll = target.checked; this.draw(); }
      else timer = setTimeout(() => this.refresh(), target.type === "search" || target.type === "number" ? 150 : 0);
    });
    for (const [id, checked] of [["all", true], ["none", false]]) {
      byId(id).addEventListener("click", () => { this.choose(checked); this.refresh(); });
    }
    byId("previous").addEventListener("click", () => this.turn(this.page - 1));
    byId("next").addEventListener("click", () => this.turn(this.page + 1));
    byId("page").addEventListener("change", ({ target }) => this.turn(Number(target.value) - 1));
  }

  /** Show the prompt or question that an address names, whatever the filters were. */
  follow(hash) {
    const place = hash.replace(/^#/, "");
    const task = this.data.tasks.findIndex(({ name }) => place.startsWith(`sample=${encodeURIComponent(name)}/`));
    const item = task < 0 ? -1 : this.data.tasks[task].ids.findIndex((_, n) => placeOf(this.data.tasks[task], n) === place);
    if (item < 0) return;
    byId("task").value = String(task);
    this.clear();
    this.openTask();
    this.turn(Math.floor(this.items.findIndex((one) => (one.prompt ?? one.question) === item) / this.size));
    byId(place)?.scrollIntoView({ block: "center" });
    byId(place)?.focus();
  }

  openTask() {
    const task = this.task = this.data.tasks[Number(byId("task").value)];
    this.form.classList.toggle("is-texts", task.kind === "texts");
    this.form.classList.toggle("is-questions", task.kind === "questions");
    fill(byId("order"), orders(this.data)[task.kind]);
    if (task.kind === "texts") {
      if (!task.starts) prepareTexts(task);
      const groups = [...new Set(task.groups.filter((group) => group !== null))];
      fill(byId("group"), { "": "all", ...Object.fromEntries(groups.map((group) => [group, group])) });
    } else {
      fill(byId("metric"), { ...task.metrics });
    }
    this.refresh();
  }

  clear() {
    for (const id of ["group", "flips", "low", "high", "query"]) byId(id).value = "";
    byId("kind").value = "any";
    this.choose(true);
    this.refresh();
  }

  /** Check all systems or none. */
  choose(checked) {
    for (const box of byId("systems").querySelectorAll("input")) box.checked = checked;
  }

  /** What the controls ask for. */
  read() {
    const number = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
    const isOwn = byId("reference").value === OWN;
    const asked = {
      order: byId("order").value,
      references: this.data.systems.map((_, system) => (isOwn ? this.data.own[system] : number("reference"))),
      group: byId("group").value,
      kind: byId("kind").value,
      low: number("low"),
      high: number("high"),
      flips: byId("flips").value,
      metric: Number(byId("metric").value),
      query: byId("query").value.trim().toLowerCase(),
      systems: [...byId("systems").querySelectorAll("input:checked")].map((box) => Number(box.value)),
    };
    asked.isNarrow = Boolean(asked.query || asked.kind !== "any" || asked.low !== null || asked.high !== null);
    return asked;
  }

  /** Select what is asked for, and show its first page. */
  refresh() {
    for (const option of byId("order").options) option.disabled = byId("reference").value === "" && NEEDS_REFERENCE.has(option.value);
    if (byId("order").selectedOptions[0]?.disabled) byId("order").value = "record";
    this.asked = this.read();
    const isTexts = this.task.kind === "texts";
    this.items = isTexts ? selectTexts(this.task, this.asked, this.data) : selectQuestions(this.task, this.asked);
    this.size = isTexts ? textsOnPage(this.asked) : QUESTIONS_ON_PAGE;
    this.page = 0;
    this.draw();
  }

  turn(page) {
    this.page = page;
    this.draw();
    byId("status").scrollIntoView({ block: "start" });
  }

  /** Put one page of what was selected into the document; nothing else of it is there. */
  draw() {
    const pages = Math.max(1, Math.ceil(this.items.length / this.size));
    this.page = Math.max(0, Math.min(pages - 1, Math.trunc(this.page) || 0));
    const visible = this.items.slice(this.page * this.size, (this.page + 1) * this.size);
    const isTexts = this.task.kind === "texts";
    if (!visible.length) byId("list").replaceChildren(make("p", {}, this.asked.systems.length ? "Nothing matches." : "No system is chosen."));
    else byId("list").replaceChildren(...(isTexts ? visible.map((item) => drawTexts(this, item)) : [drawQuestions(this, visible)]));
    this.tell(pages, isTexts);
  }

  tell(pages, isTexts) {
    const count = (n) => n.toLocaleString("en"), total = this.task.ids.length;
    const found = this.items.reduce((sum, item) => sum + item.found, 0);
    const what = isTexts ? `prompts, ${count(found)} continuations` : "questions";
    byId("status").textContent = `${count(this.items.length)} of ${count(total)} ${what}`;
    byId("page").value = this.page + 1;
    byId("page").max = pages;
    byId("pages").textContent = `of ${count(pages)}`;
    byId("previous").disabled = this.page === 0;
    byId("next").disabled = this.page === pages - 1;
  }
}

/** Read the data when the reader comes near the window, so that the page is there at once. */
function openWhenNear() {
  const list = byId("list");
  if (!list) return;
  byId("status").textContent = "The samples are read when you come here.";
  new IntersectionObserver(async (entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    byId("status").textContent = "Reading the samples…";
    try {
      const reader = new Reader(await unpack());
      byId("data").remove();
      reader.follow(location.hash);
      addEventListener("hashchange", () => reader.follow(location.hash));
    } catch (error) {
      byId("status").textContent = `The samples cannot be read: ${error.message}. A newer browser may help.`;
    }
  }, { rootMargin: "600px" }).observe(byId("samples"));
}

// A phone has no room for filters and texts at once.
if (byId("filters") && matchMedia("(max-width: 40rem)").matches) byId("filters").open = false;
openWhenNear();
if (location.hash.startsWith("#sample=")) byId("samples")?.scrollIntoView();
