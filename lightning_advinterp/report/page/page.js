"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const escaped = (text) => String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const several = data.networks.length > 1;

  /** Return an element with text and children; nothing is ever taken for HTML. */
  function element(tag, text = "", children = [], attributes = {}) {
    const made = document.createElement(tag);
    if (text !== "") made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // Rows: the fields of a row are c0, c1, ... , since titles hold names of attacks, and dots mean nesting to Tabulator.
  const rows = data.units.map(([network, layer, unit], place) => {
    const row = { id: place, network: data.networks[network], layer: data.layers[layer], unit };
    data.columns.forEach((column, number) => {
      const value = column.values[place];
      row[`c${number}`] = value === null ? null : column.number ? value : column.texts[value];
    });
    return row;
  });

  // ---- Table -------------------------------------------------------------------------------------------------
  function compares(condition, value) {
    const match = /^\s*(<=|>=|<|>|=)?\s*(-?[\d.]+(?:e-?\d+)?)\s*$/i.exec(condition);
    if (!match) return true; // half of a number is written
    if (value === null || value === undefined) return false;
    const bound = Number(match[2]);
    return { "<": value < bound, ">": value > bound, "<=": value <= bound, ">=": value >= bound }[match[1]] ?? value === bound;
  }

  function column(title, field, isNumber, extra = {}) {
    return {
      title: escaped(title), field, headerFilter: "input", headerFilterPlaceholder: isNumber ? "> 0.1" : "words",
      headerFilterParams: { elementAttributes: { "aria-label": `filter ${title}` } },
      headerFilterFunc: isNumber ? compares : "like", sorter: isNumber ? "number" : "string",
      sorterParams: { alignEmptyValues: "bottom" }, hozAlign: isNumber ? "right" : "left", minWidth: 84, headerTooltip: false,
      headerSortStartingDir: isNumber ? "desc" : "asc", ...extra,
    };
  }

  const longest = Math.max(...data.networks.map((name) => name.length));
  const columns = [
    ...(several ? [column("network", "network", false, { minWidth: Math.min(280, Math.max(110, 7 * longest + 16)) })] : []),
    column("layer", "layer", false, { minWidth: 90 }),
    column("unit", "unit", true),
    ...data.columns.map((described, number) => column(described.title, `c${number}`, described.number)),
  ];
  // Tabulator's own resizing draws all rows anew when the table comes into sight, and a row loses the keyboard's focus.
  const table = new Tabulator(at("table"), {
    data: rows, columns, height: "26rem", layout: "fitDataFill", index: "id", autoResize: false, placeholder: "No unit passes the filters.",
    rowFormatter(row) {
      const shown = row.getElement();
      shown.tabIndex = 0;
      shown.classList.toggle("chosen", row.getData().id === chosen);
    },
  });
  let chosen = null, brushed = null, ready = false;
  table.on("rowClick", (_, row) => open(row.getData().id));
  at("table").addEventListener("keydown", (event) => {
    const row = event.target.closest(".tabulator-row");
    if (row && event.key === "Enter") open(table.getRow(row)?.getData().id ?? null);
  });
  at("table").addEventListener("keydown", (event) => {
    const row = event.target.classList.contains("tabulator-row") ? event.target : null;
    const next = row && { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (next) { event.preventDefault(); next.focus(); }
  });

  // ---- Which columns are shown ---------------------------------------------------------------------------------
  const measures = [...new Set(data.columns.map((described) => described.measure))];
  for (const name of ["all", ...measures]) at("shown").append(element("option", name, [], { value: name }));
  at("shown").addEventListener("change", () => {
    const name = at("shown").value;
    data.columns.forEach((described, number) => {
      const field = `c${number}`;
      if (name === "all" || described.measure === name) table.showColumn(field); else table.hideColumn(field);
    });
  });

  // ---- Scatter -------------------------------------------------------------------------------------------------
  const numeric = data.columns.map((described, number) => ({ ...described, field: `c${number}` })).filter((each) => each.number);
  numeric.push({ title: "unit", field: "unit" });
  for (const select of [at("across"), at("up")]) {
    for (const each of numeric) select.append(element("option", each.title, [], { value: each.field }));
  }
  at("up").selectedIndex = Math.min(1, numeric.length - 1);
  const palette = ["#3b76b8", "#d1762c", "#3f9a66", "#a8569c", "#8a7a2e"];
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  const line = () => getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
  let plot = null, points = [];

  function draw() {
    const [x, y] = [at("across").value, at("up").value];
    const active = new Set(table.getData("active").map((row) => row.id));
    points = rows.filter((row) => row[x] !== null && row[y] !== null && row[x] !== undefined && row[y] !== undefined)
      .sort((first, second) => first[x] - second[x]);
    const inside = (row) => active.has(row.id);
    const ofNetwork = (name) => points.map((row) => (row.network === name && inside(row) ? row[y] : null));
    const values = [
      points.map((row) => row[x]), points.map((row) => (inside(row) ? null : row[y])),
      ...data.networks.map(ofNetwork), points.map((row) => (row.id === chosen ? row[y] : null)),
    ];
    const series = (stroke, size, fill = stroke) => ({ stroke, paths: () => null, points: { show: true, size, stroke, fill } });
    const title = (field) => numeric.find((each) => each.field === field).title;
    const axis = (label) => ({ label, stroke: ink(), grid: { stroke: line() }, ticks: { stroke: line() } });
    plot?.destroy();
    at("scatter").replaceChildren();
    plot = new uPlot({
      width: at("scatter").clientWidth, height: Math.min(380, Math.max(260, at("scatter").clientWidth * 0.7)),
      legend: { show: false }, scales: { x: { time: false, range: padded }, y: { range: padded } },
      cursor: { drag: { x: true, y: true, uni: 6, setScale: false }, points: { show: false } },
      axes: [axis(title(x)), axis(title(y))],
      series: [{}, series(line(), 4), ...data.networks.map((_, place) => series(palette[place % 5], 5)), series(ink(), 13, "transparent")],
      hooks: { setSelect: [brush], ready: [(drawn) => drawn.over.addEventListener("click", nearest)] },
    }, values, at("scatter"));
    at("status").replaceChildren(`${active.size} of ${rows.length} units`, brushed ? ", inside the box" : "",
      ...(several ? data.networks.flatMap((name, place) =>
        [" ", element("span", "●", [], { style: `color:${palette[place % 5]}`, "aria-hidden": "true" }), ` ${name}`]) : []));
  }

  function padded(_, low, high) {
    const room = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - room, high + room];
  }

  function brush(drawn) {
    const { left, top, width, height } = drawn.select;
    if (width < 4 || height < 4) return;
    brushed = {
      x: at("across").value, y: at("up").value,
      low: [drawn.posToVal(left, "x"), drawn.posToVal(top + height, "y")],
      high: [drawn.posToVal(left + width, "x"), drawn.posToVal(top, "y")],
    };
    table.setFilter((row) => row[brushed.x] !== null && row[brushed.y] !== null &&
      row[brushed.x] >= brushed.low[0] && row[brushed.x] <= brushed.high[0] &&
      row[brushed.y] >= brushed.low[1] && row[brushed.y] <= brushed.high[1]);
  }

  function nearest(event) {
    if (plot.select.width > 3 && plot.select.height > 3) return; // the end of a drag is a click too
    const box = plot.over.getBoundingClientRect();
    const place = [event.clientX - box.left, event.clientY - box.top];
    const [x, y] = [at("across").value, at("up").value];
    let best = null, least = 14;
    for (const row of points) {
      const distance = Math.hypot(plot.valToPos(row[x], "x") - place[0], plot.valToPos(row[y], "y") - place[1]);
      if (distance < least) [best, least] = [row, distance];
    }
    if (best) open(best.id);
  }

  for (const select of [at("across"), at("up")]) select.addEventListener("change", draw);
  at("clear").addEventListener("click", () => {
    brushed = null;
    table.clearFilter(true);
    draw();
  });
  table.on("dataFiltered", () => { if (ready) setTimeout(draw); });
  table.on("tableBuilt", () => {
    // Rows take the focus; the holder's own tab stop would be a child without a role inside the grid.
    at("table").querySelector(".tabulator-tableholder").removeAttribute("tabindex");
    at("table").setAttribute("aria-label", "Units");
    ready = true;
    draw();
    document.body.dataset.ready = "yes";
  });
  let wait = null;
  addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(() => { table.redraw(); draw(); }, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // ---- The chosen unit -------------------------------------------------------------------------------------------
  function open(place) {
    if (place === null) return;
    const before = chosen;
    chosen = place;
    for (const id of [before, place]) if (id !== null) table.getRow(id)?.reformat?.();
    const [, layer, unit] = data.units[place];
    const same = data.units.flatMap(([, layerOf, unitOf], other) => (layerOf === layer && unitOf === unit ? [other] : []));
    same.sort((first, second) => (second === place) - (first === place)); // the chosen one first, the others below it
    const parts = [element("h3", `${data.layers[layer]}, unit ${unit}`)];
    for (const other of same) {
      if (several) parts.push(element("h4", data.networks[data.units[other][0]]));
      parts.push(...told(other));
    }
    at("unit").replaceChildren(...parts);
    draw();
    if (at("unit").getBoundingClientRect().bottom < 0) at("unit").scrollIntoView({ block: "nearest" });
  }

  function told(place) {
    const kinds = [...new Set(data.columns.map((described) => described.kind))];
    const head = element("tr", "", [element("th", "images"), ...measures.map((name) => element("th", name))]);
    const body = kinds.map((kind) => element("tr", "", [element("th", kind, [], { scope: "row" }), ...measures.map((measure) => {
      const number = data.columns.findIndex((described) => described.kind === kind && described.measure === measure);
      return element("td", number < 0 ? "–" : rows[place][`c${number}`] ?? "–");
    })]));
    const parts = [element("div", "", [element("table", "", [element("thead", "", [head]), element("tbody", "", body)])],
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `what the analyses say of the unit of ${rows[place].network}` })];
    const groups = data.images[data.units[place][0]].filter((group) => group.kinds.some((kind) => kind.top[place] !== null));
    if (!groups.length) parts.push(element("p", "No images stand here: semantics and dissection rank a unit's images, and neither looked at this layer.", [], { class: "hint" }));
    for (const group of groups) {
      parts.push(element("h4", group.title));
      for (const kind of group.kinds) parts.push(...strip(kind, place));
      if (group.spoken) parts.push(...listed("Traced predictions that it speaks for", group.spoken[place]));
    }
    return parts;
  }

  function strip(kind, place) {
    const images = kind.top[place];
    const pictures = images.map((image) => {
      const caption = kind.captions[image] || `image ${image}`;
      const uri = kind.pictures[image];
      const picture = uri ? element("img", "", [], { src: uri, alt: caption }) : element("span", "not stored", [], { class: "absent" });
      return element("li", "", [picture, element("span", caption, [], uri ? { "aria-hidden": "true" } : {})]);
    });
    const counts = new Map();
    for (const image of images) {
      const answer = (kind.captions[image] || "").split(" → ").pop();
      if (answer) counts.set(answer, (counts.get(answer) ?? 0) + 1);
    }
    const absent = images.some((image) => !kind.pictures[image]);
    const answers = [...counts].sort((first, second) => second[1] - first[1]).map(([name, count]) => `${name} (${count})`);
    return [
      element("p", pictures.length ? kind.kind : `${kind.kind}: no image drives it`, [], { class: "hint" }),
      element("ul", "", pictures, { class: "strip" }),
      ...(absent ? [element("p", "Not stored: panels and dissection keep images of the units that they draw; --panels.units and --panels.count choose these.", [], { class: "hint" })] : []),
      ...(answers.length ? [element("p", `The network answers on these: ${answers.join(", ")}`)] : []),
    ];
  }

  function listed(title, items) {
    return items.length ? [element("h4", title), element("ul", "", items.map((item) => element("li", item)))] : [];
  }
})();
