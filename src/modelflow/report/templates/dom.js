// What the scripts of a page share: its data, elements whose every text is set as text, pixels in colours.
const dom = (() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const element = (name, text = "", kind = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  // a name that breaks where its parts meet, as in `words.breakable`; a short one not even at a hyphen
  const WHOLE = 12;
  const JOINT = /(?<=[_/.])(?=[\p{L}\p{N}_])|(?<=[a-z])(?=[A-Z])/u;
  const named = (text) => {
    const made = element("bdi", "", text.length <= WHOLE ? "whole" : "");
    for (const word of text.split(/(\s+)/)) {
      const parts = word.length <= WHOLE ? [word] : word.split(JOINT);
      parts.forEach((part, i) => made.append(...(i ? [element("wbr"), part] : [part])));
    }
    return made;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const svg = (kind, shape, attributes) => {
    const made = document.createElementNS(SVG, "svg");
    made.setAttribute("class", kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(shape);
    return made;
  };
  const shape = (name, attribute, value) => {
    const made = document.createElementNS(SVG, name);
    made.setAttribute(attribute, value);
    return made;
  };
  const sign = (name) => svg("sign", shape("use", "href", `#sign-${name}`), { role: "img", "aria-label": name });
  const modelName = ({ name, shape: path, colour }) => {
    const made = element("span", "", "model");
    const drawn = shape("path", "d", path);
    drawn.setAttribute("fill", "currentColor");
    const mark = svg("mark", drawn, { viewBox: "-1.3 -1.3 2.6 2.6", "aria-hidden": "true" });
    mark.style.color = colour;
    made.append(mark, named(name));
    return made;
  };
  const FEW_SHOWN = "Fewer than two models are shown. Show more at the top.";
  const commas = (number) => number.toLocaleString("en-US");

  // --- colours: black at zero, orange above, blue below
  const heat = (share) => {
    const size = Math.min(1, Math.abs(share));
    const [strong, middle, weak] = [Math.min(1, 1.6 * size), 0.8 * size ** 1.4, 0.7 * Math.max(0, 2 * size - 1) ** 2];
    return share >= 0 ? [strong, middle, weak] : [weak, middle, strong];
  };
  const paint = (canvas, width, height, colour) => {
    canvas.width = width;
    canvas.height = height;
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const found = colour(i);
      if (found) image.data.set([255 * found[0], 255 * found[1], 255 * found[2], 255], 4 * i);
    }
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
  };
  return { data, all, element, named, sign, modelName, FEW_SHOWN, commas, heat, paint };
})();
