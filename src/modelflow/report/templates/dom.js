// What the scripts of the page share: its data, and elements whose every text is set as text.
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
    made.append(mark, element("bdi", name));
    return made;
  };
  const commas = (number) => number.toLocaleString("en-US");
  return { data, all, element, sign, modelName, commas };
})();
