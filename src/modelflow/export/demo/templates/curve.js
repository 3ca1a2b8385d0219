// Curves of losses: points that stay few however long a training lasts, drawn as SVG.
const curve = (() => {
  "use strict";
  const POINTS = 300; // of a curve, at most
  const MARKS = [0, 0.5, 1, 1.5, 2, 2.5, 3]; // guessing among ten classes gives 2.3; what is above is drawn at the top
  const [LEFT, RIGHT, TOP, BELOW] = [34, 8, 6, 34]; // pixels around the plot

  const mean = (numbers) => numbers.reduce((a, b) => a + b) / numbers.length;

  // a point stands for `every` losses, of which those of the next point are `taken`
  const fresh = () => ({ points: [], every: 1, taken: [] });
  const add = (line, at, loss) => {
    line.taken.push(loss);
    if (line.taken.length < line.every) return;
    line.points.push({ at, loss: mean(line.taken) });
    line.taken = [];
    if (line.points.length < POINTS) return;
    line.every *= 2;
    line.points = line.points.flatMap(({ at, loss }, i, all) => (i % 2 ? { at, loss: mean([all[i - 1].loss, loss]) } : []));
  };

  const svg = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  // `lines` by the classes of their paths, over so many epochs
  const draw = (place, lines, epochs) => {
    const [width, height, most] = [place.clientWidth, place.clientHeight, MARKS.at(-1)];
    const x = (at) => LEFT + ((width - LEFT - RIGHT) * at) / epochs;
    const y = (loss) => TOP + (height - TOP - BELOW) * (1 - Math.min(loss, most) / most);
    const words = (at, text) => svg("text", { x: at, y: height - 10, "text-anchor": "middle" }, text);
    const marks = MARKS.flatMap((loss) => [
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(loss), y2: y(loss) }),
      svg("text", { x: LEFT - 8, y: y(loss) + 4, "text-anchor": "end" }, loss.toFixed(1)),
    ]);
    const pathOf = ({ points }) => points.map(({ at, loss }, i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(loss).toFixed(1)}`).join("");
    const paths = Object.entries(lines).map(([kind, line]) => svg("path", { class: kind, d: pathOf(line) }));
    place.replaceChildren(...marks, words(x(0), 0), words(x(epochs / 2), "epochs"), words(x(epochs), epochs), ...paths);
  };
  return { mean, fresh, add, draw };
})();
