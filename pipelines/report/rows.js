/* The row browser: filters the embedded rows, and shows them. Text is only ever set as text, never as HTML. */
for (const box of document.querySelectorAll(".browser")) {
  const data = JSON.parse(box.querySelector("script").textContent);
  const PAGE = 12;
  const find = (name) => box.querySelector(`[name=${name}]`);
  const [stepBox, fateBox, whyBox, textBox] = ["step", "fate", "why", "text"].map(find);
  const list = box.querySelector(".rows");
  const count = box.querySelector(".found");
  const more = box.querySelector(".more");
  const figure = (number) => number.toLocaleString("en-US");
  let visible = PAGE;

  const make = (tag, kind = "", ...inside) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    made.append(...inside);
    return made;
  };
  const textOf = (place) => (Array.isArray(data.texts[place]) ? data.texts[place][0] : data.texts[place]);
  const missing = (place) => (Array.isArray(data.texts[place]) ? data.texts[place][1] : 0);

  /* --- which rows ---------------------------------------------------------------------------- */

  /* Every text of a row, in lower case, to search in. */
  const places = (parts) =>
    parts.flatMap((part) => [
      ...(part.text === undefined ? [] : [part.text]),
      ...(part.turns || []).flatMap((turn) => [turn.text, turn.thought, ...(turn.calls || []).map((c) => c.text)]),
      ...(part.sides || []).flatMap((side) => places(side.parts)),
    ]);
  const lowered = new Map();
  const lower = (place) => {
    if (!lowered.has(place)) lowered.set(place, textOf(place).toLowerCase());
    return lowered.get(place);
  };
  const searched = new Map();
  const holds = (row, words) => {
    if (!searched.has(row)) searched.set(row, [...new Set([row.why, ...places(row.parts)])].filter((p) => p !== undefined));
    return row.id.startsWith(words) || searched.get(row).some((place) => lower(place).includes(words));
  };

  const groupOf = (row) => data.steps[row.step].groups[row.group];
  const chosen = () => ({
    step: stepBox.value === "" ? null : Number(stepBox.value),
    fate: fateBox.value,
    why: whyBox.value,
    text: textBox.value.trim().toLowerCase(),
  });
  const groups = (want) =>
    data.steps.flatMap((step, place) =>
      step.groups
        .filter(() => want.step === null || want.step === place)
        .filter((group) => (!want.fate || group.fate === want.fate) && (!want.why || group.why === want.why)),
    );
  const sum = (found, name) => found.reduce((total, each) => total + each[name], 0);

  /* --- the controls -------------------------------------------------------------------------- */

  function fill(control, choices, kept) {
    control.replaceChildren(
      ...choices.map(([value, words]) => {
        const option = make("option", "", words);
        option.value = value;
        return option;
      }),
    );
    control.value = choices.some(([value]) => value === kept) ? kept : choices[0][0];
    control.closest("label").hidden = choices.length < 2;
  }
  const tally = (found, name) => {
    const totals = new Map();
    for (const each of found) if (each[name]) totals.set(each[name], (totals.get(each[name]) || 0) + each.rows);
    return [...totals].map(([value, rows]) => [value, `${value} (${figure(rows)})`]);
  };

  function choices() {
    const want = chosen();
    fill(fateBox, [["", data.any || "any"], ...tally(groups({ step: want.step }), "fate")], want.fate);
    const fate = fateBox.value;
    fill(whyBox, [["", "any"], ...tally(groups({ step: want.step, fate }), "why")], want.why);
    if (whyBox.options.length === 2 && groups({ step: want.step, fate }).length === 1) whyBox.closest("label").hidden = true;
  }

  /* --- one row ------------------------------------------------------------------------------- */

  /* Fill an element with text, with what is searched for marked. */
  function write(into, text, words) {
    const low = words ? text.toLowerCase() : "";
    let at = 0;
    /* Lower case may be longer than the text itself (İ): then nothing is marked. */
    for (let next = words && low.length === text.length ? low.indexOf(words) : -1; next >= 0; next = low.indexOf(words, at)) {
      into.append(text.slice(at, next), make("mark", "", text.slice(next, next + words.length)));
      at = next + words.length;
    }
    into.append(text.slice(at));
    return into;
  }

  function words(place, search, beside) {
    const block = make("div", "words");
    block.dir = "auto";
    if (beside === undefined) write(block, textOf(place), search);
    else compared(block, textOf(place), textOf(beside));
    if (missing(place)) block.append(make("span", "dim", ` … ${figure(missing(place))} more characters`));
    return block;
  }

  /* Mark the words that the other text does not have in this place (longest common subsequence). */
  function compared(block, text, other) {
    const [mine, theirs] = [text, other].map((each) => each.match(/\s+|[^\s]+/gu) || []);
    let start = 0;
    while (start < mine.length && mine[start] === theirs[start]) start += 1;
    let end = 0;
    while (end < Math.min(mine.length, theirs.length) - start && mine.at(-1 - end) === theirs.at(-1 - end)) end += 1;
    const [a, b] = [mine, theirs].map((each) => each.slice(start, each.length - end));
    const common = a.length * b.length <= 1_500_000 ? shared(a, b) : anywhere(a, b);
    block.append(mine.slice(0, start).join(""));
    a.forEach((word, place) => block.append(common.has(place) || !word.trim() ? word : make("mark", "other", word)));
    block.append(end ? mine.slice(mine.length - end).join("") : "");
  }
  /* For texts that are too long to be aligned: the words that are anywhere in the other. */
  function anywhere(a, b) {
    const there = new Set(b);
    return new Set([...a.keys()].filter((place) => there.has(a[place])));
  }
  function shared(a, b) {
    const wide = b.length + 1;
    const best = new Uint16Array((a.length + 1) * wide);
    for (let i = a.length - 1; i >= 0; i -= 1) {
      for (let j = b.length - 1; j >= 0; j -= 1) {
        best[i * wide + j] =
          a[i] === b[j] ? best[(i + 1) * wide + j + 1] + 1 : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
      }
    }
    const found = new Set();
    for (let i = 0, j = 0; i < a.length && j < b.length; ) {
      if (a[i] === b[j]) {
        found.add(i);
        i += 1;
        j += 1;
      } else if (best[(i + 1) * wide + j] >= best[i * wide + j + 1]) i += 1;
      else j += 1;
    }
    return found;
  }

  function folded(name, ...inside) {
    const details = make("details", "thought", make("summary", "field", name));
    details.append(...inside);
    return details;
  }

  function turn(each, search) {
    const bubble = make("div", `turn ${["user", "assistant", "system", "tool"].includes(each.role) ? each.role : "else"}`);
    bubble.append(make("p", "role", each.of ? `${each.role}: ${each.of}` : each.role));
    if (each.thought !== undefined) bubble.append(opened(folded("reasoning", words(each.thought, search)), [each.thought], search));
    if (each.text !== undefined) bubble.append(words(each.text, search));
    for (const call of each.calls || []) {
      bubble.append(make("div", "call", make("p", "role", "calls ", make("code", "", call.name)), make("pre", "", textOf(call.text))));
    }
    return bubble;
  }

  /* A folded block opens if what is searched for is in it. */
  function opened(details, found, search) {
    details.open = Boolean(search) && found.some((place) => lower(place).includes(search));
    return details;
  }

  function part(each, search, beside) {
    if (each.kind === "text") return [make("p", "field", each.name), words(each.text, search, beside)];
    if (each.kind === "folded") return [opened(folded(each.name, words(each.text, search)), [each.text], search)];
    if (each.kind === "chat") {
      const chat = make("div", "chat", ...each.turns.map((one) => turn(one, search)));
      if (each.more) chat.append(make("p", "dim", `and ${figure(each.more)} more turns`));
      return [make("p", "field", each.name), chat];
    }
    if (each.kind === "sides") {
      return [sides(each.sides.map((side) => [side.name, side.parts.flatMap((one) => part(one, search))]))];
    }
    const line = make("p", "figures");
    for (const [name, value] of each.figures) line.append(make("span", "", name, " ", make("b", "", value)));
    return [line];
  }

  function sides(pairs) {
    const beside = make("div", "sides");
    for (const [name, inside] of pairs) beside.append(make("div", "side", make("p", "side-name", name), ...inside));
    return beside;
  }

  /* A duplicate beside the row that it duplicates, with the words that differ marked. */
  function duplicate(row, search) {
    const other = data.others[row.like];
    if (!other) {
      const told = `It is like the row ${row.like}, which is not among the rows of this run.`;
      return [make("p", "note", told), ...row.parts.flatMap((one) => part(one, search))];
    }
    const twin = (parts, name) => parts.find((one) => one.kind === "text" && one.name === name)?.text;
    const half = (parts, against) =>
      parts.flatMap((one) => part(one, search, search || one.kind !== "text" ? undefined : twin(against, one.name)));
    return [
      sides([
        ["this row", half(row.parts, other.parts)],
        [`the row it is like: ${row.like} in ${other.step}`, half(other.parts, row.parts)],
      ]),
    ];
  }

  function card(row, search) {
    const group = groupOf(row);
    const step = data.steps[row.step];
    const where = data.steps.some((each) => each.round !== step.round) ? `${step.name}, round ${step.round}` : step.name;
    const kind = group.kind || group.fate;
    const made = make("article", `card ${kind}`);
    const fate = kind === "kept" && group.why ? `${group.fate}, ${group.why}` : group.fate;
    made.append(make("h4", "", make("code", "", row.id), make("span", "", make("span", "key"), `${fate} · ${where}`)));
    if (row.why !== undefined && textOf(row.why)) made.append(write(make("p", "why"), textOf(row.why), search));
    made.append(...(row.like ? duplicate(row, search) : row.parts.flatMap((one) => part(one, search))));
    return made;
  }

  /* --- the list ------------------------------------------------------------------------------ */

  const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
  /* A word of a shell command: nothing in it is run when it is pasted. */
  const sh = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  function condition(fate, why) {
    if (fate === "filtered" && why !== "no rule named") return `_rule = ${quoted(why)}`;
    /* A reason is the beginning of its error. */
    if (fate === "failed" && why !== "no error named") return `starts_with(_error, ${quoted(why)})`;
    return "";
  }
  function command(want, found) {
    const step = want.step === null ? null : data.steps[want.step];
    if (!step || !step.command) return "";
    const fate = want.fate || (found.every((each) => each.fate === found[0]?.fate) ? found[0]?.fate : "all");
    const where = want.why && !want.why.startsWith("other ") ? condition(fate, want.why) : "";
    return `${step.command} --fate ${fate}${where && ` --where ${sh(where)}`}`;
  }

  function show() {
    const want = chosen();
    const found = groups(want);
    const wanted = new Set(found);
    const rows = data.rows.filter((row) => wanted.has(groupOf(row)) && (!want.text || holds(row, want.text)));
    const [all, embedded] = [sum(found, "rows"), sum(found, "embedded")];
    list.replaceChildren(...rows.slice(0, visible).map((row) => card(row, want.text)));
    const told = want.text ? `${figure(rows.length)} of ${figure(embedded)} rows have this text` : `${figure(all)} rows`;
    count.replaceChildren(all === 1 && !want.text ? "1 row" : told);
    if (embedded < all) {
      count.append(`; ${figure(embedded)} of ${figure(all)} are in this file, ${figure(all - embedded)} are not. `);
      const line = command(want, found);
      if (line) count.append("All of them: ", make("code", "", line));
    }
    const left = rows.length - visible;
    more.hidden = left <= 0;
    more.textContent = `Show ${figure(Math.min(left, PAGE))} more of ${figure(left)}`;
    box.dataset.found = rows.length;
  }
  function changed() {
    visible = PAGE;
    choices();
    show();
  }

  const many = data.steps.some((each) => each.round !== data.steps[0].round);
  const named = (step) => `${step.name}${many ? `, round ${step.round}` : ""} (${figure(sum(step.groups, "rows"))})`;
  fill(stepBox, [["", "all"], ...data.steps.map((step, place) => [String(place), named(step)])], String(data.start));
  for (const control of [stepBox, fateBox, whyBox]) control.addEventListener("change", changed);
  let waiting = 0;
  textBox.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(changed, 120);
  });
  more.addEventListener("click", () => {
    const first = visible;
    visible += PAGE;
    show();
    list.children[first]?.scrollIntoView({ block: "nearest" });
  });
  box.closest("section").querySelectorAll(".unscripted").forEach((each) => (each.hidden = true));
  box.hidden = false;
  changed();

  /* Links elsewhere in the page choose a step, a fate and a reason. */
  for (const link of document.querySelectorAll(`a[data-browser="${box.id}"]`)) {
    link.addEventListener("click", () => {
      const { key, fate = "", why = "" } = link.dataset;
      const place = data.steps.findIndex((each) => each.key === key);
      stepBox.value = place < 0 ? "" : String(place);
      choices();
      if ([...fateBox.options].some((each) => each.value === fate)) fateBox.value = fate;
      choices();
      if ([...whyBox.options].some((each) => each.value === why)) whyBox.value = why;
      textBox.value = "";
      changed();
    });
  }
}
