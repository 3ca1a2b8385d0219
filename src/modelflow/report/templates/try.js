// The section Try it: a picture picked, dropped, drawn or painted on; every model answers, live.
(() => {
  "use strict";
  const { data, all, element, named, sign, modelName, FEW_SHOWN, commas, heat, paint } = dom;
  const FRAME = 10; // milliseconds of computing, so that a frame has some left to paint
  const QUIET = 700; // milliseconds without a change, until the answer is read out
  const FINER = 8; // pixels of a blank board for one of the data, along a side
  const LARGEST = 2048; // pixels a side of a chosen picture
  const PAST = 20; // strokes that are undone one by one
  const TOP = 3; // classes of each answer
  const MAPS = 16; // of a layer
  const ACROSS = 8; // maps in a row
  const CELL = 60; // pixels that a map takes, where there is room
  const GAP = 4; // between maps
  const LEAST_FALL = 0.05; // of a probability, drawn in full colour
  const COVERING = 1e8; // multiply-accumulates of a model's runs, for which squares overlap: half a second or more
  const SHADE = 0.85; // of a colour over an image
  const VALUES = 128; // of a layer without maps
  const CLASSES = 20; // whose outputs are shown in their order, of more the largest
  const EMPTY = 1 / 512; // of white, by which a board without anything on it may differ from its ground
  const DONE = { paint: "painted on", erase: "partly erased" };
  const BACK = { drawing: "Back to your drawing", picture: "Back to your picture", test: "Back to your changed image" };

  const percent = (share) => {
    if (share >= 0.9995) return "100\u00a0%";
    return share < 0.0005 ? "0\u00a0%" : `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}\u00a0%`;
  };
  const counted = (number, word) => `${commas(number)} ${word}${number === 1 ? "" : "s"}`;
  const sentence = (...parts) => {
    const made = element("span");
    made.append(...parts);
    return made;
  };

  // --- pictures as they are
  const rgb = ({ planes }) => (i) => (planes.length === 3 ? planes.map((plane) => plane[i]) : Array(3).fill(planes[0][i]));
  const paintPicture = (canvas, picture) => paint(canvas, picture.width, picture.height, rgb(picture));

  // --- pictures of the data's form
  const testImage = (found, place) => {
    const [channels, height, width] = found.shape;
    const area = width * height;
    const planes = Array.from({ length: channels }, (_, c) => {
      const from = (place * channels + c) * area;
      return Float64Array.from(found.bytes.subarray(from, from + area), (byte) => byte / found.white);
    });
    return { width, height, planes };
  };
  const brought = (found, picture) => {
    const [, height, width] = found.shape;
    return found.framing ? live.framed(picture, width, height, found.framing) : live.fitted(picture, width, height);
  };
  const blank = (found) => {
    const [channels, height, width] = found.shape;
    const area = FINER * height * FINER * width;
    const planes = Array.from({ length: channels }, (_, c) => new Float64Array(area).fill(found.ground[c]));
    return { width: FINER * width, height: FINER * height, planes };
  };
  const shadesWords = ({ isInverted, isStretched }) => {
    const done = [isInverted && "inverted", isStretched && "its contrast stretched"].filter(Boolean);
    return done.length ? ` It was ${done.join(", and ")}, to be bright on black.` : "";
  };
  const ofFile = async (found, file) => {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data;
    const planes = [0, 1, 2].map((c) => Float64Array.from({ length: width * height }, (_, i) => pixels[4 * i + c] / 255));
    const picture = found.shape[0] === 1 ? live.grey({ width, height, planes }) : { width, height, planes };
    if (!found.framing) return brought(found, picture);
    const bright = live.brightOnBlack(picture);
    return { ...brought(found, bright), shades: shadesWords(bright) };
  };

  // --- the board: what is on it, how it is painted on by pointer and by keys; `changed` hears of each change.
  // Work of the reader's that something else takes the place of is kept, the last one.
  const boardOf = (part, found, changed) => {
    const canvas = part.querySelector("[data-board]");
    const cursor = part.querySelector("[data-cursor]");
    const [channels, height, width] = found.shape;
    // { picture, origin: "test" | "picture" | "drawing", place, before: as it began, tools: that changed it, past: before each stroke }
    let on = null;
    let kept = null;
    let begun = null; // what was there before the stroke that has not changed anything yet
    let at = [width / 2, height / 2]; // of the cursor, in pixels of the data

    const scale = () => on.picture.width / width;
    const show = () => paintPicture(canvas, on.picture);
    const isOnGround = (plane, c) => plane.every((share) => Math.abs(share - found.ground[c]) < EMPTY);
    const isEmpty = () => (on.origin === "drawing" || on.tools.size > 0) && on.picture.planes.every(isOnGround);
    const isOwn = () => on && !isEmpty() && (on.origin !== "test" || on.tools.size > 0);
    const put = (next) => {
      kept = isOwn() ? on : next === kept ? null : kept;
      on = next;
      show();
      changed();
    };
    const copyOf = (picture) => ({ ...picture, planes: picture.planes.map((plane) => plane.slice()) });
    const start = (before, origin, place = null) =>
      put({ picture: copyOf(before), before, origin, place, tools: new Set(), past: [] });
    const tool = () => part.querySelector("[data-tool]:checked").value;
    const ink = () => {
      if (tool() === "erase") return found.ground;
      const chosen = part.querySelector("[data-ink]").value;
      if (channels !== 3) return Array(channels).fill(Number(chosen) / 100);
      return [1, 3, 5].map((place) => parseInt(chosen.slice(place, place + 2), 16) / 255);
    };
    const begin = () => (begun = { picture: copyOf(on.picture), tools: new Set(on.tools) });
    const stroke = (from, to) => {
      const radius = (Number(part.querySelector("[data-brush]").value) * scale()) / 2;
      if (!live.stroke(on.picture, from.map((n) => n * scale()), to.map((n) => n * scale()), radius, ink())) return;
      if (begun) on.past = [...on.past, begun].slice(-PAST);
      begun = null;
      on.tools.add(tool());
      show();
      changed();
    };
    const undo = () => {
      if (!on.past.length) return;
      Object.assign(on, on.past.pop());
      show();
      changed();
    };

    const placeOf = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
    };
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      last = placeOf(event);
      begin();
      stroke(last, last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const next = placeOf(event);
      stroke(last, next);
      last = next;
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (last = null));

    const showCursor = () => {
      cursor.style.left = `${(100 * at[0]) / width}%`;
      cursor.style.top = `${(100 * at[1]) / height}%`;
    };
    const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    canvas.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step && event.key !== " ") return;
      event.preventDefault();
      const from = at;
      if (step) at = [Math.min(width, Math.max(0, at[0] + step[0])), Math.min(height, Math.max(0, at[1] + step[1]))];
      if (event.key === " " || event.shiftKey) {
        begin();
        stroke(from, at);
      }
      showCursor();
    });
    showCursor();

    return {
      pick: (place) => start(testImage(found, place), "test", place),
      blank: () => start(blank(found), "drawing"),
      give: (picture) => start(picture, "picture"),
      undo,
      restore: () => start(on.before, on.origin, on.place),
      back: () => put(kept),
      isEmpty,
      get state() {
        return on;
      },
      get kept() {
        return kept;
      },
      seen: () => (on.origin === "drawing" ? brought(found, on.picture) : on.picture),
    };
  };

  // --- the models: what each run gives of shares of white
  const modelsOf = (found) =>
    found.models.map((model) => {
      const run = live.network(model.operations);
      const seeds = model.seeds.map((seed) => ({ ...seed, weights: live.halvesOf(seed.weights) }));
      const values = (shares, { weights, mean, std }) => run(live.normalised(shares, mean, std), weights);
      const logits = (shares, seed) => values(shares, seed).at(-1);
      return { ...model, seeds, values, shares: (given, seed) => live.softmax(logits(given, seed)) };
    });
  const flat = ({ planes }) => {
    const made = new Float64Array(planes.length * planes[0].length);
    planes.forEach((plane, c) => made.set(plane, c * plane.length));
    return made;
  };

  // --- what a model says: the class, whether it is right where that is known, what its seeds say
  const tallied = (classes) => {
    const tally = new Map();
    for (const k of classes) tally.set(k, (tally.get(k) ?? 0) + 1);
    return [...tally].sort((a, b) => b[1] - a[1]);
  };
  const judged = (k, truth) => (truth === null ? "" : k === truth ? "right" : "wrong");
  const seedsSaid = (found, vote) => {
    const { length } = vote.classes;
    if (length === 1) return sentence("One run");
    if (vote.agree === length) return sentence(length === 2 ? "Both seeds agree" : `All ${length} seeds agree`);
    const most = [`${vote.agree} of ${length} seeds say `, named(found.classes[vote.predicted])];
    const said = sentence(...(vote.agree === 1 ? ["No two seeds agree"] : most));
    for (const [k, number] of tallied(vote.classes.filter((k) => k !== vote.predicted))) {
      said.append(`, ${number} ${number === 1 ? "says" : "say"} `, named(found.classes[k]));
    }
    return said;
  };
  const answerOf = (found, vote, truth) => {
    const said = element("span", "", `says ${judged(vote.predicted, truth)}`);
    if (truth !== null) said.append(sign(judged(vote.predicted, truth)), " ");
    said.append(named(found.classes[vote.predicted]));
    if (truth !== null) said.append(element("span", ` ${judged(vote.predicted, truth)}`, "judged"));
    return said;
  };

  // --- the answer of a model: its likeliest classes, a tick for each seed
  const answerCard = (found, model) => {
    const card = element("li", "", "answer");
    card.dataset.models = model.index;
    const head = element("div", "", "answer-head");
    const said = element("p", "", "answer-said");
    const agree = element("p", "", "answer-seeds quiet");
    const bars = element("div", "", "answer-bars");
    head.append(modelName(model));
    card.append(head, said, agree, bars);
    card.style.setProperty("--own", model.colour);
    const bar = (vote, k) => {
      const [row, track, fill] = [element("div", "", "answer-bar"), element("span", "", "track"), element("span", "", "fill")];
      fill.style.width = `${100 * vote.mean[k]}%`;
      track.append(fill);
      for (const shares of vote.shares.length > 1 ? vote.shares : []) {
        const tick = element("span", "", "tick");
        tick.style.left = `${100 * shares[k]}%`;
        track.append(tick);
      }
      row.append(named(found.classes[k]), track, element("span", percent(vote.mean[k]), "n"));
      return row;
    };
    const show = (vote, truth) => {
      said.replaceChildren(answerOf(found, vote, truth));
      agree.replaceChildren(seedsSaid(found, vote));
      const others = [...vote.mean.keys()].filter((k) => k !== vote.predicted).sort((a, b) => vote.mean[b] - vote.mean[a]);
      bars.replaceChildren(...[vote.predicted, ...others].slice(0, TOP).map((k) => bar(vote, k)));
    };
    return { card, show };
  };

  // --- what is on the board, and what the models that are shown say of it, in a sentence each
  const imageWords = (found, state) => {
    if (state.origin !== "test") return [];
    const { numbers, labels } = found.images;
    const how = [...state.tools].map((tool) => DONE[tool]).join(" and ");
    const before = `Test image ${numbers[state.place]}${how ? `, changed (${how}); it was ` : " is "}`;
    return [before, named(found.classes[labels[state.place]]), ". "];
  };
  const emptyWords = (state) =>
    state.origin === "drawing" ? "Nothing is drawn yet. Paint on the board." : "Everything is erased. Paint, or undo.";
  const consensus = (found, answers, state, truth) => {
    const parts = imageWords(found, state);
    if (!answers.length) return sentence(...parts, "No model is shown.");
    const most = tallied(answers.map(({ predicted }) => predicted));
    const said = ([k]) => [named(found.classes[k]), truth === null ? "" : ` (${judged(k, truth)})`];
    if (most.length === 1) {
      const who = ["The model says", "Both models say"][answers.length - 1] ?? `All ${answers.length} models say`;
      parts.push(`${who} `, ...said(most[0]), ".");
    } else {
      most.forEach(([k, number], i) => {
        parts.push(`${i ? ", " : ""}${i ? number : counted(number, "model")} ${number === 1 ? "says" : "say"} `, ...said([k]));
      });
      parts.push(".");
    }
    return sentence(...parts);
  };

  // --- activation maps of one run
  const WORDS = { convolve: "convolution", dense: "linear", add: "sum", weigh: "channels weighted" };
  const wordsOf = ({ kind, how, low, high, shape }) => {
    const what = kind === "pool" ? (how === "max" ? "max pool" : "average pool") : (WORDS[kind] ?? how.replace("_", " "));
    const bound = low !== 0 ? "" : high === 6 ? ", ReLU6" : ", ReLU";
    const most = shape.length === 3 && shape[1] * shape[2] > 1 ? MAPS : VALUES;
    return `: ${what}${bound}, ${shape.join(" × ")}${shape[0] > most ? `, the first ${most} shown` : ""}`;
  };
  const mapsOf = (place, found, model) => {
    const layers = model.operations.slice(0, -1).map((operation) => {
      const figure = element("figure", "", "maps");
      const caption = element("figcaption");
      const canvas = element("canvas");
      caption.append(element("code", operation.name), wordsOf(operation));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Outputs of ${operation.name}${wordsOf(operation)}`);
      figure.append(caption, canvas);
      return { canvas, figure, shape: operation.shape };
    });
    const outputs = outputsOf(found, model.operations.at(-1));
    place.replaceChildren(...layers.map(({ figure }) => figure), outputs.figure);
    return (values) => {
      layers.forEach(({ canvas, shape }, i) => paintMaps(canvas, shape, values[i]));
      outputs.show(values.at(-1));
    };
  };
  // the last layer: a number for each class, by its name
  const outputsOf = (found, operation) => {
    const figure = element("figure", "", "maps");
    const caption = element("figcaption");
    const list = element("ul", "", "outputs");
    const some = found.classes.length > CLASSES ? `, the ${CLASSES} largest shown` : "";
    caption.append(element("code", operation.name), `: the outputs (logits), one per class${some}. The largest is the answer of this seed.`);
    figure.append(caption, list);
    const row = (k, value, most) => {
      const [item, track, fill] = [element("li"), element("span", "", "track"), element("span", "", value < 0 ? "below" : "above")];
      fill.style.width = `${(50 * Math.abs(value)) / most}%`;
      track.append(fill);
      item.append(named(found.classes[k]), track, element("span", value.toFixed(1).replace("-", "\u2212"), "n"));
      return item;
    };
    const show = (values) => {
      const largest = values.reduce((a, b, k) => (b > values[a] ? k : a), 0);
      const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
      const places = [...values.keys()];
      if (some) places.sort((a, b) => values[b] - values[a]).splice(CLASSES);
      list.replaceChildren(...places.map((k) => row(k, values[k], most)));
      list.children[places.indexOf(largest)].classList.add("largest");
    };
    return { figure, show };
  };
  const paintMaps = (canvas, shape, values) => {
    const [channels, height, width] = shape.length === 3 ? shape : [shape[0], 1, 1];
    const single = height * width === 1;
    const shown = Math.min(channels, single ? VALUES : MAPS);
    const columns = Math.min(shown, single ? shown : ACROSS);
    const larger = single ? 1 : Math.max(1, Math.floor(CELL / Math.max(height, width)));
    const [broad, tall] = [larger * width + (single ? 0 : GAP), larger * height + (single ? 0 : GAP)];
    const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
    canvas.classList.toggle("row", single);
    canvas.style.width = `${single ? Math.min(16 * shown, ACROSS * CELL) : columns * broad}px`;
    paint(canvas, columns * broad, Math.ceil(shown / columns) * tall, (i) => {
      const [x, y] = [i % (columns * broad), Math.floor(i / (columns * broad))];
      const map = Math.floor(y / tall) * columns + Math.floor(x / broad);
      const [dx, dy] = [x % broad, y % tall].map((place) => Math.floor(place / larger));
      if (dx >= width || dy >= height || map >= shown) return null;
      return heat(values[(map * height + dy) * width + dx] / most);
    });
  };

  // --- occlusion: how much the probability of the class falls where a square of ground covers the image, in the same
  // places for all the models that are compared: as few as the one that takes longest allows
  const squaresOf = (found, models) => {
    const [, height, width] = found.shape;
    const longest = Math.max(...models.map(({ operations, seeds }) => live.macs(operations) * seeds.length));
    return live.squares(width, height, COVERING / longest);
  };
  function* occluded(found, model, { size, across, down }, shares, vote, told) {
    const [, height, width] = found.shape;
    const [sums, times] = [new Float64Array(width * height), new Float64Array(width * height)];
    for (const [row, top] of down.entries()) {
      told(row / down.length);
      for (const left of across) {
        const hidden = live.covered(shares, width, height, left, top, size, found.ground);
        let mean = 0;
        for (const seed of model.seeds) {
          mean += model.shares(hidden, seed)[vote.predicted] / model.seeds.length;
          yield null;
        }
        for (let y = top; y < top + size; y++) {
          for (let x = left; x < left + size; x++) {
            sums[y * width + x] += vote.mean[vote.predicted] - mean;
            times[y * width + x] += 1;
          }
        }
      }
    }
    return sums.map((sum, i) => sum / times[i]);
  }
  const comparisonOf = (part, found, models) => {
    const sides = all("[data-compared]", part);
    const chosen = () => sides.map((side) => models[Number(side.querySelector("select").value)]);
    const image = part.querySelector("[data-compared-image]");
    const places = part.querySelector("[data-places]");
    const ends = ["rises", "falls"].map((way) => part.querySelector(`[data-scale="${way}"]`));
    const views = sides.map((side) => ({
      said: side.querySelector("[data-side-said]"),
      canvas: side.querySelector("canvas"),
      note: side.querySelector("[data-side-note]"),
    }));
    paint(part.querySelector(".scale canvas"), 101, 1, (i) => heat((i - 50) / 50).map((share) => SHADE * share));
    const show = (i, vote, truth) => {
      const seeds = seedsSaid(found, vote);
      seeds.className = "quiet";
      const judgement = truth === null ? " " : ` (${judged(vote.predicted, truth)}) `;
      views[i].said.replaceChildren(`${percent(vote.mean[vote.predicted])} `, named(found.classes[vote.predicted]), judgement, seeds);
    };
    const showScale = (by) => ends.forEach((end) => (end.textContent = `${end.dataset.scale}${by}`));
    const showFalls = (i, picture, falls, most) => {
      const light = rgb(picture.planes.length === 3 ? live.grey(picture) : picture);
      paint(views[i].canvas, picture.width, picture.height, (p) => {
        const colour = heat(falls[p] / most);
        return light(p).map((share, c) => 0.45 * share + SHADE * colour[c]);
      });
      const least = falls.reduce((a, b) => Math.min(a, b), 0);
      const top = falls.reduce((a, b) => Math.max(a, b), 0);
      views[i].note.textContent = `Covered, its probability falls by up to ${(100 * top).toFixed(0)} points and rises by up to ${(100 * -least).toFixed(0)}.`;
    };
    return {
      chosen,
      *work(picture, shares, answers, state, truth) {
        const votes = chosen().map((model) => answers[models.indexOf(model)]);
        const squares = squaresOf(found, chosen());
        const few = squares.isCoarse ? ", fewer than usual, since one of the models takes long" : "";
        places.textContent = `The square is ${squares.size} × ${squares.size} pixels. Both maps are of the same ${counted(squares.across.length * squares.down.length, "place")}${few}.`;
        image.replaceChildren(...imageWords(found, state));
        votes.forEach((vote, i) => {
          show(i, vote, truth);
          paintPicture(views[i].canvas, picture);
          views[i].note.textContent = "Covering …";
        });
        showScale("");
        const covered = [];
        for (const [i, model] of chosen().entries()) {
          const told = (share) => (views[i].note.textContent = `Covering … ${percent(share)}`);
          covered.push(yield* occluded(found, model, squares, shares, votes[i], told));
        }
        const most = covered.flatMap((falls) => [...falls]).reduce((a, b) => Math.max(a, Math.abs(b)), LEAST_FALL);
        covered.forEach((side, i) => showFalls(i, picture, side, most));
        showScale(` by ${(100 * most).toFixed(0)} points`);
      },
    };
  };

  // --- one computation at a time, a little of it each frame; what is asked for meanwhile begins when it is done
  const worker = (begin) => {
    let [running, asked] = [null, false];
    const frame = () => {
      const until = performance.now() + FRAME;
      while (running && performance.now() < until) {
        const { done, value } = running.next();
        if (done || (asked && value === "answered")) running = null;
      }
      if (!running && asked) [running, asked] = [begin(), false];
      if (running) requestAnimationFrame(frame);
    };
    return () => {
      const idle = !running && !asked;
      asked = true;
      if (idle) requestAnimationFrame(frame);
    };
  };

  const tryIt = (part) => {
    const stored = data.live[part.dataset.try];
    const found = { ...stored, bytes: live.bytesOf(stored.images.pixels) };
    const models = modelsOf(found);
    const cards = models.map((model) => answerCard(found, model));
    part.querySelector("[data-answers]").replaceChildren(...cards.map(({ card }) => card));
    const [summary, spoken] = ["summary", "spoken"].map((name) => part.querySelector(`[data-${name}]`));
    const [ofModel, ofSeed] = ["model", "seed"].map((name) => part.querySelector(`[data-inside=${name}]`));
    const [seesCanvas, maps] = ["sees", "maps"].map((name) => part.querySelector(`[data-${name}]`));
    const shades = part.querySelector("[data-shades]");
    const compare = part.querySelector("[data-compare]");
    const sides = compare?.querySelector(".answering");
    const comparison = compare && comparisonOf(compare, found, models);
    let paintLayers = null;
    let reading = 0;

    function* work() {
      const { state } = board;
      const picture = board.seen();
      const shares = flat(picture);
      const truth = state.origin === "test" && !state.tools.size ? found.images.labels[state.place] : null;
      paintPicture(seesCanvas, picture);
      shades.textContent = state.before.shades ?? "";
      if (board.isEmpty()) {
        say(emptyWords(state));
        part.dataset.ready = "true";
        return;
      }
      const first = Number(ofModel.value);
      maps.hidden = cards[first].card.hidden;
      const answers = [];
      for (const i of [first, ...models.keys()].filter((i, place) => i !== first || place === 0)) {
        const votes = [];
        for (const seed of models[i].seeds) {
          votes.push(models[i].shares(shares, seed));
          yield null;
        }
        answers[i] = live.votes(votes);
        cards[i].show(answers[i], truth);
        if (i === first) paintLayers(models[i].values(shares, models[i].seeds[Number(ofSeed.value)]));
        yield null;
      }
      say(consensus(found, answers.filter((_, i) => !cards[i].card.hidden), state, truth));
      yield "answered";
      if (compare?.open && !sides.hidden) {
        for (const _ of comparison.work(picture, shares, answers, state, truth)) yield "answered";
      }
      part.dataset.ready = "true";
    }
    const say = (words) => {
      summary.replaceChildren(words);
      clearTimeout(reading);
      reading = setTimeout(() => (spoken.textContent = summary.textContent), QUIET);
    };
    const start = worker(work);
    const changed = () => {
      delete part.dataset.ready;
      const { state, kept } = board;
      const isEdited = state.tools.size > 0;
      Object.assign(part.dataset, { origin: state.origin, edited: isEdited, empty: board.isEmpty() });
      part.toggleAttribute("data-kept", kept !== null);
      part.querySelector("[data-restore]").disabled = !isEdited;
      part.querySelector("[data-undo]").disabled = !state.past.length;
      for (const button of all("[data-back]", part)) {
        button.hidden = kept === null;
        button.textContent = kept ? BACK[kept.origin] : "";
      }
      mark(state.origin === "test" ? state.place : null);
      start();
    };
    const board = boardOf(part, found, changed);

    // test images: one stop of the tab key, arrows walk
    const tiles = found.images.numbers.map((number, place) => {
      const tile = element("button", "", "pick");
      tile.type = "button";
      tile.setAttribute("role", "radio");
      tile.setAttribute("aria-label", `Test image ${number}, ${found.classes[found.images.labels[place]]}`);
      const canvas = element("canvas");
      paintPicture(canvas, testImage(found, place));
      tile.append(canvas);
      tile.addEventListener("click", () => choose(place));
      return tile;
    });
    const mark = (place) => {
      tiles.forEach((tile, i) => {
        tile.setAttribute("aria-checked", String(i === place));
        tile.tabIndex = i === (place ?? 0) ? 0 : -1;
      });
    };
    const file = part.querySelector("[data-file]");
    const forgetFile = () => file && (file.value = "");
    const choose = (place) => {
      forgetFile();
      board.pick(place);
    };
    const holder = part.querySelector("[data-images]");
    holder.replaceChildren(...tiles);
    holder.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = (tiles.indexOf(event.target) + step + tiles.length) % tiles.length;
      choose(next);
      tiles[next].focus();
    });

    // pictures of the reader's
    const give = async (given) => {
      try {
        board.give(await ofFile(found, given));
      } catch {
        summary.textContent = spoken.textContent = "This file cannot be read as a picture.";
      }
    };
    file?.addEventListener("change", () => file.files[0] && give(file.files[0]));
    part.addEventListener("dragover", (event) => event.preventDefault());
    part.addEventListener("drop", (event) => {
      event.preventDefault();
      if (file && event.dataTransfer.files[0]) give(event.dataTransfer.files[0]);
    });
    part.querySelector("[data-blank]").addEventListener("click", () => {
      forgetFile();
      board.blank();
    });
    part.querySelector("[data-restore]").addEventListener("click", board.restore);
    part.querySelector("[data-undo]").addEventListener("click", board.undo);
    part.addEventListener("keydown", (event) => {
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      board.undo();
    });
    for (const button of all("[data-back]", part)) button.addEventListener("click", board.back);

    document.addEventListener("models-chosen", changed);

    // which model is looked into
    const lookInto = () => {
      const model = models[Number(ofModel.value)];
      ofSeed.replaceChildren(...model.seeds.map(({ seed }, i) => new Option(seed, i)));
      paintLayers = mapsOf(maps, found, model);
    };
    ofModel.addEventListener("change", () => (lookInto(), changed()));
    ofSeed.addEventListener("change", changed);
    lookInto();

    if (compare) {
      const button = compare.querySelector("[data-apart]");
      const chosen = () => comparison.chosen().map((model) => models.indexOf(model));
      const alike = compare.querySelector("[data-alike]");
      const showAlike = () => {
        const [a, b] = chosen();
        const areFew = cards.filter(({ card }) => !card.hidden).length < 2;
        sides.hidden = areFew;
        button.disabled = areFew || a === b;
        alike.hidden = !button.disabled;
        alike.textContent = areFew ? FEW_SHOWN : "Both sides show the same model. Choose two different models.";
      };
      document.addEventListener("models-chosen", showAlike);
      compare.addEventListener("toggle", changed);
      compare.addEventListener("change", () => (showAlike(), changed()));
      button.addEventListener("click", () => {
        const [a, b] = chosen();
        choose(found.apart[`${Math.min(a, b)},${Math.max(a, b)}`]);
      });
      showAlike();
    }
    choose(0);
  };
  for (const part of all("[data-try]")) tryIt(part);
})();
