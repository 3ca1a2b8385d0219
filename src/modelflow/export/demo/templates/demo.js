// The page: trains some steps each frame, and shows what came of them.
(async () => {
  "use strict";
  const { data, element, sign, commas, heat, paint } = dom;
  const STEPS = 4; // each frame
  const SHOWN = 20; // held-out images
  const part = (id) => document.getElementById(id);
  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  // --- what the page carries
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const inflated = async (text) => {
    const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const network = { ...data.network, module: await inflated(data.network.module) };
  const weights = new Float32Array(bytesOf(data.weights).buffer);
  const [pixels, labels] = [await inflated(data.images), bytesOf(data.labels)];
  const values = Float32Array.from(pixels, (byte) => (byte / data.white - data.mean) / data.std);
  const held = labels.length - data.training;
  const size = Math.sqrt(network.image);
  const trained = await step.prepared(network, values, labels, data.largest, STEPS).catch(() => null);
  part("failed").hidden = Boolean(trained);
  if (!trained) return;

  // --- a course of training: the same again with the same choices
  const random = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0; // mulberry32
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const shuffled = (epoch) => {
    const [next, order] = [random(epoch), Uint32Array.from({ length: data.training }, (_, i) => i)];
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  };
  const fresh = () => ({
    ...{ epoch: 0, order: shuffled(0), at: 0, steps: 0, seconds: 0 },
    curves: { training: curve.fresh(), "held-out": curve.fresh() },
  });
  let course = fresh();
  const epochs = () => course.epoch + course.at / data.training;
  const drawCurves = () => curve.draw(part("curve"), course.curves, Math.max(1, Math.ceil(epochs())));
  let following = null; // the frame that is asked for while it trains

  // --- what is chosen
  const rate = () => 10 ** Number(part("rate").value);
  const batch = () => 2 ** Number(part("size").value);
  const sayChoices = () => {
    part("rate-said").textContent = Number(rate().toPrecision(2));
    part("size-said").textContent = batch();
  };

  // --- pictures
  const paintHeat = (canvas, side, found) => {
    const most = found.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
    paint(canvas, side, side, (i) => heat(found[i] / most));
  };
  const paintImage = (canvas, image) => paint(canvas, size, size, (i) => Array(3).fill(pixels[image * network.image + i] / data.white));
  const convolved = (image, filter, bias) => {
    const { kernel } = data.conv;
    const side = size - kernel + 1;
    return Float32Array.from({ length: side * side }, (_, i) => {
      const corner = image * network.image + Math.floor(i / side) * size + (i % side);
      let sum = bias;
      for (let k = 0; k < filter.length; k++) sum += filter[k] * values[corner + Math.floor(k / kernel) * size + (k % kernel)];
      return Math.max(0, sum);
    });
  };
  const filters = Array.from({ length: data.conv.channels }, (_, c) => {
    const [column, filter, map] = ["div", "canvas", "canvas"].map((name) => element(name));
    filter.setAttribute("role", "img");
    filter.setAttribute("aria-label", `Filter ${c + 1}`);
    map.setAttribute("role", "img");
    map.setAttribute("aria-label", `What filter ${c + 1} makes of the image`);
    column.append(filter, map);
    part("filters").append(column);
    return { filter, map };
  });
  let chosen = 0;
  const drawFilters = () => {
    const { kernel, channels, flat } = data.conv;
    const [area, found] = [kernel * kernel, trained.parameters()];
    paintImage(part("image"), data.training + chosen);
    filters.forEach(({ filter, map }, c) => {
      const own = found.subarray(flat + c * area, flat + (c + 1) * area);
      paintHeat(filter, kernel, own);
      paintHeat(map, size - kernel + 1, convolved(data.training + chosen, own, found[flat + channels * area + c]));
    });
  };
  const tiles = Array.from({ length: SHOWN }, (_, i) => {
    const [item, button, canvas, said] = ["li", "button", "canvas", "span"].map((name) => element(name));
    const truth = data.classes[labels[data.training + i]];
    button.type = "button";
    button.addEventListener("click", () => choose(i));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", truth);
    paintImage(canvas, data.training + i);
    button.append(canvas, said);
    item.append(button);
    part("said").append(item);
    return { button, said, truth };
  });
  const choose = (i) => {
    chosen = i;
    tiles.forEach(({ button }, j) => button.setAttribute("aria-pressed", String(i === j)));
    drawFilters();
  };

  // --- what it says of the images held out
  const evaluate = () => {
    const logits = trained.logits(data.training, held);
    let [loss, right] = [0, 0];
    for (let i = 0; i < held; i++) {
      const own = logits.subarray(i * network.classes, (i + 1) * network.classes);
      const most = Math.max(...own);
      const label = labels[data.training + i];
      const predicted = own.indexOf(most);
      loss += (Math.log(own.reduce((sum, one) => sum + Math.exp(one - most), 0)) + most - own[label]) / held;
      right += Number(predicted === label) / held;
      if (i < SHOWN) say(tiles[i], data.classes[predicted]);
    }
    part("accuracy").textContent = percent(right);
    part("held-out").textContent = loss.toFixed(3);
    curve.add(course.curves["held-out"], course.epoch, loss);
  };
  const say = ({ said, truth }, name) => {
    const kind = name === truth ? "right" : "wrong";
    said.replaceChildren(sign(kind), ` ${name}${name === truth ? "" : `, is ${truth}`}`);
    said.className = kind;
  };

  // --- training, some steps a frame
  const few = () => {
    const order = course.order.subarray(course.at, course.at + STEPS * batch());
    const before = performance.now();
    const losses = trained.train(order, batch(), rate(), course.epoch, course.steps);
    course.seconds += (performance.now() - before) / 1000;
    course.at += order.length;
    course.steps += losses.length;
    curve.add(course.curves.training, epochs(), curve.mean(losses));
    part("training").textContent = curve.mean(losses).toFixed(3);
    if (course.at === data.training) {
      part("speed").textContent = commas(Math.round(data.training / course.seconds));
      Object.assign(course, { epoch: course.epoch + 1, at: 0, steps: 0, seconds: 0 });
      course.order = shuffled(course.epoch);
      evaluate();
    }
  };
  const frame = () => {
    few();
    part("epoch").textContent = course.epoch;
    drawCurves();
    drawFilters();
    following = requestAnimationFrame(frame);
  };
  const stop = () => {
    cancelAnimationFrame(following);
    following = null;
    part("run").textContent = "Start";
  };
  part("run").addEventListener("click", () => {
    if (following) return stop();
    part("run").textContent = "Pause";
    following = requestAnimationFrame(frame);
  });
  const begin = () => {
    course = fresh();
    stop();
    trained.begin(weights);
    for (const id of ["training", "speed"]) part(id).textContent = "–";
    part("epoch").textContent = 0;
    evaluate();
    drawCurves();
    choose(chosen);
  };
  part("again").addEventListener("click", begin);
  for (const id of ["rate", "size"]) part(id).addEventListener("input", sayChoices);
  new ResizeObserver(drawCurves).observe(part("curve"));
  sayChoices();
  begin();
  for (const id of ["run", "again"]) part(id).disabled = false;
  document.documentElement.dataset.ready = "true";
})();
