// What the page does beyond its text: draws the charts, answers the controls. Every text from data is set as text.
(() => {
  "use strict";
  const { data, all, element, named, sign, modelName, FEW_SHOWN, commas } = dom;

  // --- light and dark: the system's choice, until the button is used
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    button.querySelector("span").textContent = dark ? "Light mode" : "Dark mode"; // what a press does
  };
  let chosen = false;
  setTheme(system.matches);
  system.addEventListener("change", () => chosen || setTheme(system.matches));
  button.addEventListener("click", () => {
    chosen = true;
    setTheme(root.dataset.theme !== "dark");
  });

  // --- tooltips
  const tip = document.getElementById("tip");
  // where the nearest point is sought, Vega-Lite 6.4 looks for texts in the cell around it: they are in its datum.datum
  const showTip = (_, event, item, value) => {
    if (!value || typeof value !== "object") {
      tip.hidden = true;
      return;
    }
    tip.replaceChildren(
      ...Object.entries(value).map(([name, text]) => {
        const line = element("div");
        const isolated = element("bdi", String(item?.datum?.datum?.[name] ?? text));
        const right = element("span");
        right.append(isolated);
        line.append(element("span", name), right);
        return line;
      })
    );
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const x = event.clientX + 14 + box.width > innerWidth ? event.clientX - box.width - 14 : event.clientX + 14;
    const y = event.clientY + 14 + box.height > innerHeight ? event.clientY - box.height - 14 : event.clientY + 14;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${Math.max(4, y)}px`;
  };
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });

  // --- charts
  const views = {};
  const widthOf = (place) => {
    for (let node = place; node; node = node.parentElement) {
      if (node.clientWidth) return Math.min(node.clientWidth, node === place ? Infinity : 480);
    }
    return 480;
  };
  const sized = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const view = views[target.dataset.chart];
      const width = Math.floor(contentRect.width);
      if (view && width > 0 && Math.abs(view.width() - width) > 1) view.width(width).runAsync();
    }
  });
  const draw = async (place) => {
    const name = place.dataset.chart;
    const spec = { ...data.charts[name], width: widthOf(place), datasets: data.datasets };
    const options = { actions: false, renderer: "svg", ast: true, tooltip: showTip, defaultStyle: false };
    const { view } = await vegaEmbed(place, spec, options);
    views[name] = view;
    if (hidden.size) filterChart(name);
    const svg = place.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.removeAttribute("aria-roledescription");
    svg.setAttribute("aria-label", place.dataset.label);
    place.removeAttribute("aria-label");
    sized.observe(place);
  };
  const drawAll = async () => {
    for (const place of all("[data-chart]")) {
      await draw(place);
      await new Promise((next) => setTimeout(next));
    }
    root.dataset.ready = "true";
  };

  // --- which cost the accuracy is shown against
  for (const radio of all('input[name$="-cost"]')) {
    radio.addEventListener("change", () => {
      const group = radio.name.replace(/-cost$/, "");
      for (const pane of all(`[data-cost^="${group}-"]`)) pane.hidden = pane.dataset.cost !== `${group}-${radio.value}`;
    });
  }

  // --- which models every chart and list shows: one choice, wherever it is made
  const boxes = all("[data-filter] input");
  const hidden = new Set();
  const nameOf = (index) => boxes.find((box) => box.value === index).parentElement.querySelector("bdi").textContent;
  const showChosen = () => {
    for (const box of boxes) box.checked = !hidden.has(box.value);
    for (const part of all("[data-models]")) part.hidden = part.dataset.models.split(" ").some((index) => hidden.has(index));
    for (const select of all("select:has([data-models])")) offerShown(select);
    for (const table of all("table")) tellEmptied(table);
    for (const part of all("[data-none-shown]")) part.hidden = boxes.some((box) => box.checked);
    for (const name of Object.keys(views)) filterChart(name);
    for (const told of all("[data-filtered]")) {
      const number = new Set(boxes.map((box) => box.value)).size;
      told.textContent = hidden.size ? `${number - hidden.size} of ${number}` : `all ${number}`;
    }
    document.dispatchEvent(new Event("models-chosen"));
  };
  // of the models that are shown; where two are set against each other, two different ones
  const offerShown = (select) => {
    const pair = all("select", select.closest("[data-disagree], [data-compare]") ?? select.parentElement);
    const before = pair.slice(0, pair.indexOf(select)).map((other) => other.value);
    const elsewhere = pair.filter((other) => other !== select).map((other) => other.value);
    const shown = [...select.options].filter((option) => !option.hidden);
    for (const option of select.options) option.disabled = option.hidden;
    select.disabled = !shown.length;
    const [chosen] = select.selectedOptions;
    if (!shown.length || (shown.includes(chosen) && !before.includes(chosen.value))) return;
    const next = shown.find((option) => !elsewhere.includes(option.value)) ?? shown[0];
    if (next === chosen) return;
    next.selected = true;
    select.dispatchEvent(new Event("change", { bubbles: true }));
  };
  // a table without a line left says which models bring one back, as few as can
  const tellEmptied = (table) => {
    const rows = all("tbody tr", table);
    const isEmptied = rows.some((row) => row.dataset.models) && rows.every((row) => row.hidden);
    table.toggleAttribute("data-emptied", isEmptied);
    if (!isEmptied) return;
    const missing = rows.map((row) => row.dataset.models.split(" ").filter((index) => hidden.has(index)));
    const least = missing.reduce((a, b) => (b.length < a.length ? b : a));
    const names = least.map((index) => `\u2068${nameOf(index)}\u2069`).join(" and ");
    table.caption.dataset.missing = `Its lines are hidden with their models. Choose ${names} under Models at the top.`;
  };
  const filterChart = (name) => {
    const view = views[name];
    const names = [...hidden].map(nameOf);
    const rows = data.charts[name].usermeta;
    if ("hidden" in view.getState().signals) view.signal("hidden", names);
    if (rows) view.height(rows.height * Math.max(1, rows.models.filter((model) => !names.includes(model)).length));
    view.runAsync();
  };
  for (const field of all("[data-filter]")) {
    field.addEventListener("change", ({ target }) => {
      hidden[target.checked ? "delete" : "add"](target.value);
      showChosen();
    });
    field.querySelector("[data-all]").addEventListener("click", () => (hidden.clear(), showChosen()));
    field.querySelector("[data-none]").addEventListener("click", () => {
      for (const box of boxes) hidden.add(box.value);
      showChosen();
    });
  }
  const panel = document.querySelector(".filter");
  const closePanel = (event) => {
    if (panel?.open && (event.key === "Escape" || (event.type === "click" && !panel.contains(event.target)))) {
      panel.open = false;
      if (event.key) panel.querySelector("summary").focus();
    }
  };
  for (const kind of ["click", "keydown"]) addEventListener(kind, closePanel);

  // --- confusion matrices: one stop of the tab key each, arrows walk
  for (const table of all("[data-confusion]")) {
    const readout = table.closest(".scroll").nextElementSibling;
    const names = all("thead .turned", table).map((cell) => cell.textContent);
    const rows = all("tbody tr", table).map((row) => all("td", row));
    const tell = (cell) => {
      const row = cell.parentElement;
      const i = row.rowIndex - 1;
      const j = cell.cellIndex - 1;
      const n = Number(cell.dataset.n);
      const total = Number(row.dataset.total);
      const share = total ? ` (${((100 * n) / total).toFixed(1)} %)` : "";
      const said = i === j ? "recognised" : `taken for ${names[j]}`;
      readout.textContent = `${names[i]} ${said}: ${commas(n)} of ${commas(total)}${share}`;
    };
    table.addEventListener("pointerover", (event) => event.target.matches("td") && tell(event.target));
    table.addEventListener("focusin", (event) => event.target.matches("td") && tell(event.target));
    table.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!step || !event.target.matches("td")) return;
      const next = rows[event.target.parentElement.rowIndex - 1 + step[0]]?.[event.target.cellIndex - 1 + step[1]];
      event.preventDefault();
      if (!next) return;
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  // --- model sections
  const setCards = (open) => () => all("#models > .card").forEach((card) => (card.open = open));
  document.getElementById("open-all").addEventListener("click", setCards(true));
  document.getElementById("close-all").addEventListener("click", setCards(false));

  // --- where two models disagree
  const FIRST = 6; // images of a list, until more are asked for
  const tileOf = (id, place) => {
    const tile = element("span", "", "tile");
    const columns = Number(getComputedStyle(tileProbe(id)).getPropertyValue("--columns")) || 1;
    tile.dataset.sheet = id;
    tile.style.setProperty("--x", place % columns);
    tile.style.setProperty("--y", Math.floor(place / columns));
    return tile;
  };
  const tileProbe = (id) => document.querySelector(`.tile[data-sheet="${id}"]`) || root;
  const says = (found, model, place) => {
    const right = found.predicted[model][place] === found.labels[place];
    const said = right ? "right" : "wrong";
    const line = element("span");
    const answer = element("span", "", `says ${said}`);
    answer.append(sign(said), " ", named(found.classes[found.predicted[model][place]]), ` (${found.confidence[model][place]}\u00a0%)`);
    line.append(modelName(found.models[model]), " ", answer);
    return line;
  };
  const listed = (id, found, [a, b], title, total, places) => {
    const heading = element("p");
    heading.append(element("b", `${commas(total)} image${total === 1 ? "" : "s"}`), " that ", ...title);
    if (total) heading.append(", each with its confidence");
    if (places.length < total) heading.append(element("span", surestWords(places.length), "quiet"));
    const list = element("ul", "", "tiles");
    for (const [rank, place] of places.entries()) {
      const item = element("li");
      if (tileProbe(id) !== root) item.append(tileOf(id, place));
      item.append(says(found, a, place), says(found, b, place));
      if (found.predicted[a][place] !== found.labels[place] && found.predicted[b][place] !== found.labels[place]) {
        const truth = element("span", "is ", "truth");
        truth.append(named(found.classes[found.labels[place]]));
        item.append(truth);
      }
      item.append(element("span", `image ${found.shown[place]}`, "quiet"));
      item.hidden = rank >= FIRST;
      list.append(item);
    }
    const part = element("div");
    part.append(heading, list);
    if (places.length > FIRST) part.append(moreButton(list, places.length));
    return part;
  };
  const moreButton = (list, number) => {
    const button = element("button", `Show all ${number}`);
    button.type = "button";
    button.addEventListener("click", () => {
      const [first, ...others] = all("li[hidden]", list);
      for (const item of [first, ...others]) item.hidden = false;
      first.tabIndex = -1;
      first.focus();
      button.remove();
    });
    return button;
  };
  const surestWords = (number) => {
    if (!number) return "; none of them is among the images of this page";
    return `; the ${number === 1 ? "one" : number} on which both are surest`;
  };
  const count = (number, before, ...names) => {
    const item = element("li");
    item.append(element("b", commas(number)), before);
    for (const name of names) item.append(" ", named(name));
    return item;
  };
  const disagree = (part) => {
    const id = part.dataset.disagree;
    const found = data.mistakes[id];
    const [a, b] = ["a", "b"].map((name) => Number(part.querySelector(`[data-side="${name}"]`).value));
    const outcome = part.querySelector("[data-outcome]");
    const shown = all('[data-side="a"] option', part).filter((option) => !option.hidden);
    if (shown.length < 2 || a === b) {
      outcome.replaceChildren(element("p", shown.length < 2 ? FEW_SHOWN : "Choose two different models.", "quiet"));
      return;
    }
    const both = found.right[a] - found.only[a][b];
    const wrong = found.images - both - found.only[a][b] - found.only[b][a];
    const apart = found.apart[a][b];
    const [first, second] = [a, b].map((model) => named(found.models[model].name));
    const again = (name) => name.cloneNode(true);
    const counts = element("ul", "", "counts");
    counts.append(
      count(both, "both right"),
      count(found.only[a][b], "only right:", found.models[a].name),
      count(found.only[b][a], "only right:", found.models[b].name),
      count(wrong - apart, "both wrong, the same class"),
      count(apart, "both wrong, differently")
    );
    const only = (i, j, right, missed) =>
      listed(id, found, [i, j], [again(right), " has right and ", again(missed), " wrong"], found.only[i][j], found.surest_only[[i, j]]);
    const differing = ["both have wrong, ", again(first), " and ", again(second), " each taking it for another class"];
    const ofBoth = found.surest_apart[[Math.min(a, b), Math.max(a, b)]];
    outcome.replaceChildren(
      counts,
      only(a, b, first, second),
      only(b, a, second, first),
      listed(id, found, [a, b], differing, apart, ofBoth)
    );
  };
  for (const part of all("[data-disagree]")) {
    part.addEventListener("change", () => disagree(part));
    document.addEventListener("models-chosen", () => disagree(part));
    disagree(part);
  }

  // --- print: charts as wide as paper, as they were afterwards
  const PAPER = 660;
  const BESIDE = 270; // that the card beside the first chart takes
  const room = (place, most) => {
    if (place.closest(".pair")) return (most - 20) / 2;
    return place.closest(".first") ? most - BESIDE : most;
  };
  const resizeAll = (most) => {
    for (const place of all("[data-chart]")) {
      const width = Math.min(widthOf(place), room(place, most));
      views[place.dataset.chart]?.width(width).run();
    }
  };
  addEventListener("beforeprint", () => resizeAll(PAPER));
  addEventListener("afterprint", () => resizeAll(Infinity));

  drawAll();
})();
