// --- lm-eval's tasks: each question, right or wrong by system ---

const QUESTIONS_ON_PAGE = 50;

/** How a system's answers to a question differ from the reference's, over the seeds that both have. */
function flips(task, asked, question, system) {
  const found = { lost: false, gained: false };
  const reference = asked.references[system];
  if (reference === null || system === reference) return found;
  for (const run of task.systems[system].runs) {
    const base = task.systems[reference].runs.find((other) => other.seed === run.seed);
    const before = base?.values[asked.metric]?.[question], after = run.values[asked.metric]?.[question];
    if (before === 1 && after === 0) found.lost = true;
    if (before === 0 && after === 1) found.gained = true;
  }
  return found;
}

function selectQuestions(task, asked) {
  const items = [];
  task.ids.forEach((id, question) => {
    const found = asked.systems.map((system) => flips(task, asked, question, system));
    const lost = found.filter((one) => one.lost).length, gained = found.filter((one) => one.gained).length;
    if (asked.flips === "flipped" && !lost && !gained) return;
    if (asked.flips === "lost" && !lost) return;
    if (asked.flips === "gained" && !gained) return;
    if (asked.query && !questionText(task, asked, question).includes(asked.query)) return;
    items.push({ question, found: 1, rank: asked.order === "lost" ? lost : lost + gained });
  });
  if (asked.order !== "record") items.sort((a, b) => b.rank - a.rank || a.question - b.question);
  return items;
}

/** What a search looks in: the question's id, its right answer, and the answers. */
function questionText(task, asked, question) {
  const answers = asked.systems.flatMap((system) => task.systems[system].runs.map((run) => run.answers[question]));
  return [task.ids[question], task.targets[question], ...answers].join("\n").toLowerCase();
}

function drawQuestions(reader, items) {
  const { data, task, asked } = reader;
  const heads = ["question", "right answer", ...asked.systems.map((system) => data.systems[system])];
  const rows = items.map(({ question }) => make("tr", {},
    make("th", { scope: "row", title: task.ids[question] }, `${question + 1} `, make("small", {}, task.ids[question].slice(0, 8)), linkTo(task, question)),
    make("td", {}, answer(reader, `t${question}`, task.targets[question], `right answer to question ${question + 1}`)),
    ...asked.systems.map((system) => make("td", {}, ...drawAnswers(reader, question, system)))));
  const table = make("table", {},
    make("caption", {}, `${task.name}, with the likeliest answer or the text given`),
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": task.name }, table);
}

/** A system's answers to a question, one a seed. */
function drawAnswers(reader, question, system) {
  const { data, task, asked } = reader, changed = flips(task, asked, question, system), { runs } = task.systems[system];
  if (!runs.length) return ["–"];
  const told = runs.map((run) => {
    const value = run.values[asked.metric]?.[question] ?? null;
    const seed = runs.length > 1 ? `seed ${run.seed}: ` : "";
    const given = run.answers[question] === null ? null
      : answer(reader, `${system}.${run.seed}.${question}`, run.answers[question], `${data.systems[system]}'s answer to question ${question + 1}`);
    return make("div", {}, seed, mark(value), " ", given);
  });
  if (changed.lost) told.push(make("span", { class: "flip wrong" }, "lost"));
  if (changed.gained) told.push(make("span", { class: "flip right" }, "gained"));
  return told;
}

function mark(value) {
  if (value === 1) return make("span", { class: "right" }, "✓", make("span", { class: "aside" }, "right"));
  if (value === 0) return make("span", { class: "wrong" }, "✗", make("span", { class: "aside" }, "wrong"));
  return make("span", {}, value === null ? "–" : score3(value));
}

/** The number of an answer, or its text, veiled. */
function answer(reader, key, given, of) {
  if (/^\d{1,3}$/.test(String(given))) return make("small", {}, `answer ${given}`);
  return veiled(reader, key, given, 0, of);
}

