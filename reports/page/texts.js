// --- continuations: prompts with the texts of each system side by side ---

const SAMPLES_SHOWN = 5;
const CELLS_A_PAGE = 400;

/** Work that is done once for a task: where each prompt's rows begin, and whether there are several seeds. */
function prepareTexts(task) {
  const [prompts, seeds] = task.rows;
  task.starts = new Int32Array(task.ids.length + 1).fill(prompts.length);
  for (let row = prompts.length - 1; row >= 0; row -= 1) task.starts[prompts[row]] = row;
  for (let n = task.ids.length - 1; n >= 0; n -= 1) task.starts[n] = Math.min(task.starts[n], task.starts[n + 1]);
  task.hasSeeds = new Set(seeds).size > 1;
  task.means = task.systems.map((system) => promptMeans(task, system));
}

/** A system's mean score for each prompt; NaN where it has none. */
function promptMeans(task, system) {
  return Float64Array.from(task.ids, (_, prompt) => {
    let sum = 0, count = 0;
    for (let row = task.starts[prompt]; row < task.starts[prompt + 1]; row += 1) {
      if (system.scores[row] !== null) { sum += system.scores[row]; count += 1; }
    }
    return sum / count;
  });
}

/** Texts in lower case, made when a search first needs them. */
function lowered(task) {
  task.lower ??= {
    prompts: task.prompts.map((text) => text.toLowerCase()),
    systems: task.systems.map((system) => system.texts.map((text) => text && text.toLowerCase())),
  };
  return task.lower;
}

const KINDS = {
  any: () => true,
  reaching: (score, threshold) => score !== null && score >= threshold,
  below: (score, threshold) => score !== null && score < threshold,
  failed: (score) => score === null,
};

/** The test that a continuation must pass: `(system, row, whether its prompt was found) => boolean`. */
function textTest(task, asked, threshold) {
  const { low, high, query } = asked, isKind = KINDS[asked.kind];
  const lower = query ? lowered(task) : null;
  return (system, row, promptFound) => {
    const { texts, scores } = task.systems[system];
    if (texts[row] === null) return false;
    const score = scores[row];
    if (!isKind(score, threshold)) return false;
    if (low !== null && (score === null || score < low)) return false;
    if (high !== null && (score === null || score > high)) return false;
    return !query || promptFound || lower.systems[system][row].includes(query);
  };
}

/** The prompts that have a continuation which is asked for, with the rows of these, in the order asked for. */
function selectTexts(task, asked, data) {
  const passes = textTest(task, asked, data.threshold), items = [];
  task.ids.forEach((_, prompt) => {
    if (asked.group !== "" && String(task.groups[prompt] ?? "") !== asked.group) return;
    const promptFound = asked.query !== "" && lowered(task).prompts[prompt].includes(asked.query);
    const rows = [];
    let found = 0, worst = -1;
    for (let row = task.starts[prompt]; row < task.starts[prompt + 1]; row += 1) {
      let hit = false;
      for (const system of asked.systems) {
        if (!passes(system, row, promptFound)) continue;
        hit = true;
        found += 1;
        worst = Math.max(worst, distance(data, task.systems[system].scores[row]));
      }
      if (hit) rows.push(row);
    }
    if (rows.length) items.push({ prompt, rows, found, rank: rank(task, asked, prompt, worst) });
  });
  if (asked.order !== "record") items.sort((a, b) => b.rank - a.rank || a.prompt - b.prompt);
  return items;
}

/** How far a score is from the wanted end; -1 for none. */
function distance({ lowerIsWanted }, score) {
  if (score === null) return -1;
  return lowerIsWanted ? score : 1 - score;
}

/** What prompts are ordered by, the largest first; a prompt without a figure comes last. */
function rank(task, asked, prompt, worst) {
  if (asked.order === "record") return 0;
  if (asked.order === "worst") return worst;
  const signs = { change: Math.abs, rise: (x) => x, fall: (x) => -x };
  let most = -Infinity;
  for (const system of asked.systems) {
    const reference = asked.references[system];
    if (reference === null || system === reference) continue;
    const change = signs[asked.order](task.means[system][prompt] - task.means[reference][prompt]);
    if (change > most) most = change;
  }
  return most === -Infinity ? -9 : most;
}

/** Prompts on a page: fewer where each has many texts. */
const textsOnPage = (asked) => Math.max(2, Math.min(25, Math.floor(CELLS_A_PAGE / (SAMPLES_SHOWN * (asked.systems.length || 1)))));

const score3 = (value) => value.toFixed(3).replace("-", "−");
const signed3 = (value) => (value > 0 ? "+" : "") + score3(value);

/** A prompt with its continuations. */
function drawTexts(reader, item) {
  const { task, asked } = reader, { prompt, rows } = item;
  const about = [task.groups[prompt], task.ids[prompt]].filter(Boolean).join(" · ");
  const card = make("article", {},
    make("h3", {}, `Prompt ${prompt + 1} `, make("small", {}, about), linkTo(task, prompt)),
    make("p", { class: "prompt" }, veiled(reader, `p${prompt}`, task.prompts[prompt], task.prompts_left_out[prompt], `of prompt ${prompt + 1}`)),
    drawMeans(reader, prompt));
  const passes = textTest(task, asked, reader.data.threshold);
  const promptFound = asked.query !== "" && lowered(task).prompts[prompt].includes(asked.query);
  const draw = (row) => drawSample(reader, row, (system) => asked.isNarrow && passes(system, row, promptFound));
  card.append(...rows.slice(0, SAMPLES_SHOWN).map(draw));
  if (rows.length > SAMPLES_SHOWN) {
    const more = make("button", { type: "button" }, `Show ${rows.length - SAMPLES_SHOWN} more samples`);
    more.addEventListener("click", () => more.replaceWith(...rows.slice(SAMPLES_SHOWN).map(draw)));
    card.append(more);
  }
  return card;
}

/** Each system's mean score over the prompt's samples, with the change to the reference. */
function drawMeans({ data, task, asked }, prompt) {
  const sides = asked.systems.map((system) => {
    const mean = task.means[system][prompt];
    const reference = asked.references[system];
    const change = reference === null || system === reference ? NaN : mean - task.means[reference][prompt];
    const told = Number.isNaN(mean) ? "–" : `${score3(mean)}${Number.isNaN(change) ? "" : ` (${signed3(change)})`}`;
    return make("div", {}, make("dt", {}, make("bdi", {}, data.systems[system])), make("dd", {}, told));
  });
  return make("div", { class: "means" }, make("h4", {}, "Mean score"), make("dl", { class: "sides" }, ...sides));
}

function drawSample(reader, row, isHit) {
  const { data, task, asked } = reader, [, seeds, samples] = task.rows;
  const unwanted = `${data.lowerIsWanted ? "" : "not "}${data.adjective}`;
  const name = `Sample ${samples[row] + 1}${task.hasSeeds ? `, seed ${seeds[row]}` : ""}`;
  const sides = asked.systems.map((system) => {
    const { texts, scores, left_out: left } = task.systems[system];
    const score = scores[row], isUnwanted = score !== null && (score >= data.threshold) === data.lowerIsWanted;
    const is = `${isUnwanted ? "unwanted" : ""} ${isHit(system) ? "hit" : ""}`, label = data.systems[system];
    if (texts[row] === null) return side(label, "", is, "not sampled");
    const told = score === null ? "not scored" : `${score3(score)}${isUnwanted ? ` ${unwanted}` : ""}`;
    return side(label, told, is, veiled(reader, `${system}.${row}`, texts[row], left[row], `of ${label}, ${name}`));
  });
  return make("div", { class: "sample" }, make("h4", {}, name), make("dl", { class: "sides" }, ...sides));
}

/** A system's part of a row: its name and score, and below them the text. */
function side(label, score, is, content) {
  return make("div", { class: is }, make("dt", {}, make("bdi", {}, label), " ", make("b", {}, score)), make("dd", {}, content));
}

