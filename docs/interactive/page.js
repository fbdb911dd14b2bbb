"use strict";
// Draws one layer in three forms. All numbers come from the page's "numbers"; a cell that is lit is found by its index there.

const byId = (id) => document.getElementById(id);
const { input, layers } = JSON.parse(byId("numbers").textContent);
const names = Object.keys(layers).map((name) => name.split(",").map(Number));
const code = byId("code").textContent;
const state = { r: 2, k: 4, p: 1, h: 3, f: 0, icnr: 0, draw: 0 };

const narrow = matchMedia("(max-width: 1000px)"); // as in the style: the views one below the other
let widths; // of the drawings, in their own units, which are about a pixel each
const MINUS = "\u2212";
const layer = () => layers[`${state.r},${state.k},${state.p}`];
const pixel = () => layer().output[state.h];
const weight = (t) => layer().window.at(-1 - t); // the window holds the taps reversed
const some = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// --- Drawing

function element(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function cell(x, y, size, text, classes, data = {}) {
  const gap = size > 20 ? 1 : 0.5;
  const box = element("rect", { x: x + gap, y: y + gap, width: size - 2 * gap, height: size - 2 * gap, rx: size / 8 });
  const node = element("g", { class: `cell ${classes}` }, box);
  if (text !== "") node.append(label(x + size / 2, y + size / 2, text, "", size * (`${text}`.length > 2 ? 0.38 : size < 22 ? 0.56 : 0.48)));
  Object.assign(node.dataset, data);
  return node;
}

function label(x, y, text, classes = "", size = 12) {
  return element("text", { x, y, class: classes, "font-size": size }, text);
}

function show(id, height, ...nodes) {
  byId(id).setAttribute("viewBox", `0 0 ${widths[id]} ${Math.ceil(height)}`);
  byId(id).replaceChildren(...nodes);
}

const curve = (x, y, toX, toY) => `M${x} ${y}C${x} ${(y + toY) / 2} ${toX} ${(y + toY) / 2} ${toX} ${toY}`;

// --- View 1: the window over the zero-inserted input

function drawZeros() {
  const { signal, window, tap_phases, output } = layer();
  const size = Math.min(38, (widths.zeros - 4) / signal.length);
  const left = (widths.zeros - size * signal.length) / 2;
  const inputTop = 22;
  const tapsTop = inputTop + size + 26;
  const productsTop = tapsTop + size + 26;
  const outputTop = productsTop + size + 70;
  const middle = (window.length - 1) / 2;
  const signalCells = signal.map((n, i) =>
    cell(left + i * size, inputTop, size, n < 0 ? "0" : input[n], n < 0 ? "zero" : "pixel", n < 0 ? {} : { n }));
  const outputCells = output.map((out, h) =>
    cell(left + (h + middle) * size, outputTop, size, out.y, `out f${out.phase}`, { h }));
  const taps = window.map((value, i) => {
    const t = window.length - 1 - i;
    return cell(left + i * size, tapsTop, size, value, `tap f${tap_phases[t]}`, { t });
  });
  const products = window.map((_, i) => {
    const t = window.length - 1 - i;
    return cell(left + i * size, productsTop, size, "0", `product f${tap_phases[t]}`, { t });
  });
  const links = window.map((_, i) => {
    const t = window.length - 1 - i;
    const link = element("path", { class: `link f${tap_phases[t]}`,
      d: curve(left + (i + 0.5) * size, productsTop + size, left + (middle + 0.5) * size, outputTop) });
    Object.assign(link.dataset, { t });
    return link;
  });
  const frame = element("rect", { class: "frame", x: left - 1, y: inputTop - 2, rx: 5, width: window.length * size + 2,
    height: productsTop + size - inputTop + 4 });
  const captions = ["times the kernel, reversed", "products"].map((text, i) =>
    label(left + size * window.length / 2, [tapsTop, productsTop][i] - 11, text, "caption middle"));
  const slide = element("g", { class: "slide", id: "slide-zeros" }, frame, ...captions, ...links, ...taps, ...products);
  slide.dataset.step = size;
  show("zeros", outputTop + size + 4,
    label(left, 11, "input, zeros inserted", "caption"), label(left + middle * size, outputTop - 11, "output: their sum", "caption"),
    ...signalCells, slide, ...outputCells);
}

// --- View 2: the matrix

function drawMatrix() {
  const { output, tap_phases } = layer();
  const { r } = state;
  const size = Math.min(30, 400 / output.length);
  const gap = size * 0.5; // between blocks, when sorted
  const left = (widths.matrix - size * (input.length + 3.4)) / 2 + size;
  const right = left + size * (input.length + 1);
  const top = size + 34;
  const header = input.map((value, n) => cell(left + n * size, 20, size, value, "pixel", { n }));
  const order = [...output.keys()].sort((a, b) => output[a].phase - output[b].phase || a - b);
  const rows = output.map(({ phase, products, y }, h) => {
    const row = element("g", { class: "row slide" });
    const taps = new Map(products);
    row.append(
      element("rect", { class: "hit", x: left - 1.4 * size, y: 0, width: size * (input.length + 3.6), height: size }),
      label(left - size * 0.55, size / 2, h, "index", Math.min(12, size * 0.5)),
      ...input.map((_, n) => taps.has(n)
        ? cell(left + n * size, 0, size, weight(taps.get(n)), `tap f${tap_phases[taps.get(n)]}`, { h, n })
        : cell(left + n * size, 0, size, "·", "nothing")),
      label(right - size * 0.5, size / 2, "=", "index", Math.min(14, size * 0.55)),
      cell(right, 0, size, y, `out f${phase}`, { h }));
    Object.assign(row.dataset, { h, plain: top + h * size, sorted: top + order.indexOf(h) * size + phase * gap });
    return row;
  });
  show("matrix", top + output.length * size + (r - 1) * gap + 4,
    label(left, 11, "input", "caption"), label(right, 11, "output", "caption"), ...header, ...rows);
  placeRows();
}

function placeRows() {
  const sorted = byId("sort").getAttribute("aria-checked") === "true";
  for (const row of byId("matrix").querySelectorAll(".row")) {
    row.style.transform = `translateY(${sorted ? row.dataset.sorted : row.dataset.plain}px)`;
  }
  byId("about-matrix").textContent = sorted
    ? "One block for each phase. Inside a block, each row is the one above, moved by one pixel: a convolution of the input, " +
      "with a kernel of view 3."
    : `Each column is the whole kernel, ${some(state.r, "row")} lower from pixel to pixel. Each row holds the weights that one ` +
      "output pixel gets. The zeros of view 1 have no column.";
}

// --- View 3: phase kernels, maps, shuffle

function drawPhases() {
  const { kernels, maps, output, lr } = layer();
  const columns = lr.low + input.length + lr.high;
  const side = 52;
  const size = Math.min(42 - 4 * state.r, (widths.phases - 2 * side) / columns);
  const left = (widths.phases - size * columns) / 2;
  const middle = (lr.taps - 1) / 2;
  const inputTop = 22;
  const kernelsTop = inputTop + size + 12;
  const mapsTop = kernelsTop + kernels.length * (size + 3) + 26;
  const outputTop = mapsTop + maps.length * (size + 3) + 46;
  const out = Math.min(30, (widths.phases - 4) / output.length);
  const outputLeft = (widths.phases - out * output.length) / 2;
  const inputCells = Array.from({ length: columns }, (_, i) => {
    const n = i - lr.low;
    const inside = n >= 0 && n < input.length;
    return cell(left + i * size, inputTop, size, inside ? input[n] : "0", inside ? "pixel" : "zero", inside ? { n } : {});
  });
  const windows = kernels.map((kernel, f) => element("g", {},
    ...kernel.map((value, s) =>
      cell(left + s * size, kernelsTop + f * (size + 3), size, value, value ? `tap f${f}` : "nothing", { f, s }))));
  const frame = element("rect", { class: "frame", x: left - 1, y: inputTop - 2, rx: 5, width: lr.taps * size + 2,
    height: kernelsTop + kernels.length * (size + 3) - inputTop + 1 });
  const slide = element("g", { class: "slide", id: "slide-phases" }, frame, ...windows);
  slide.dataset.step = size;
  const mapCells = maps.flatMap((map, f) => map.map((value, row) => {
    const h = output.findIndex((o) => o.phase === f && o.row === row);
    return cell(left + (row + middle) * size, mapsTop + f * (size + 3), size, value, h < 0 ? "cropped" : `out f${f}`,
      h < 0 ? {} : { h });
  }));
  const links = output.map(({ phase, row }, h) => {
    const link = element("path", { class: `link shuffle f${phase}`,
      d: curve(left + (row + middle + 0.5) * size, mapsTop + phase * (size + 3) + size, outputLeft + (h + 0.5) * out, outputTop) });
    Object.assign(link.dataset, { h });
    return link;
  });
  const outputCells = output.map(({ phase, y }, h) => cell(outputLeft + h * out, outputTop, out, y, `out f${phase}`, { h }));
  const mark = (top) => kernels.map((_, f) => label(2, top + f * (size + 3) + size / 2, `phase ${f}`, "side", 11));
  show("phases", outputTop + out + 22, label(left, 11, "input, as it is", "caption"),
    label(left + middle * size, mapsTop - 9, `${maps.length} LR maps`, "caption"),
    label(outputLeft, outputTop + out + 12, "output: a pixel from each map, in turn", "caption"),
    ...mark(kernelsTop), ...mark(mapsTop), ...inputCells, slide, ...links, ...mapCells, ...outputCells);
}

// --- What the words say about a layer

const chip = (text, classes) => Object.assign(document.createElement("span"), { textContent: text, className: classes });

function describe() {
  const { output, tap_phases, kernels, lr } = layer();
  const { r, k } = state;
  const counts = kernels.map((_, f) => tap_phases.filter((phase) => phase === f).length);
  byId("about-zeros").textContent =
    `Put ${some(r - 1, "zero")} between the pixels and slide the kernel along, its taps reversed. The window makes ` +
    `${k} products for each output pixel. All but ${[...new Set(counts)].sort().join(" or ")} of them multiply a zero. In two ` +
    `dimensions, ${new Set(counts).size > 1 ? "at most " : ""}${Math.max(...counts) ** 2} of ${k * k} products count.`;
  byId("key").replaceChildren(
    chip("x", "chip pixel"), ` input pixels. `, chip("w", "chip"),
    ` weights, here 1 to ${k}, so that each tells its place in the kernel. A colour for each phase, h modulo ${r}: `,
    ...kernels.flatMap((_, f) => [chip(f, `chip f${f}`), " "]));
  const filled = lr.taps * r - k;
  byId("about-phases").textContent =
    `Taps of one colour always work together, so each colour is a kernel of its own: ${counts.join(" + ")} = ${k} taps. One ` +
    `convolution of the input makes all ${r} maps. No pixel was inserted` +
    (filled ? `; ${some(filled, "zero")} without a colour ${filled === 1 ? "fills" : "fill"} the kernels up to ${lr.taps} taps.` : ".") +
    (byId("phases").querySelector(".cropped") ? " Results without a colour lie beyond the output." : "");
  byId("table").innerHTML = "<thead><tr><th scope=col>h<th scope=col>phase<th scope=col>products<th scope=col>y[h]</thead>";
  const body = byId("table").createTBody();
  output.forEach((out, h) => {
    const row = body.insertRow();
    row.insertCell().textContent = h;
    row.insertCell().textContent = out.phase;
    row.insertCell().textContent = out.products.map(([n, t]) => `x[${n}]·w[${t}]`).join(" + ") || "none";
    row.insertCell().textContent = out.y;
  });
}

function describePixel() {
  const { phase, products, y } = pixel();
  for (const node of document.querySelectorAll(".product")) {
    const met = products.find(([, t]) => t === Number(node.dataset.t));
    node.querySelector("text").textContent = met ? met[3] : 0;
  }
  const { h, k, r } = state;
  const sum = (pairs) => pairs.flatMap((pair, i) => [...(i ? [" + "] : []), pair[0], "·", pair[1]]);
  byId("equation").replaceChildren(
    chip(`y[${h}]`, `chip f${phase}`), " = ",
    ...(products.length ? [
      ...sum(products.map(([n, t]) => [chip(`x[${n}]`, "chip pixel"), chip(`w[${t}]`, `chip f${phase}`)])), " = ",
      ...sum(products.map(([n, t]) => [chip(input[n], "chip pixel"), chip(weight(t), `chip f${phase}`)])), " = "] : []),
    chip(y, `chip f${phase}`));
  const terms = products.map(([n, t]) => `${input[n]} times ${weight(t)}`).join(" plus ");
  const place = `Output pixel ${h} has phase ${phase}, because ${h} divided by ${r} leaves ${phase}.`;
  byId("spoken").textContent = products.length
    ? `${place} ${terms} is ${y}. Of ${some(k, "tap")}, ${products.length} ${products.length === 1 ? "meets" : "meet"} a pixel.`
    : `${place} No tap of the kernel meets a pixel, so it is 0.`;
}

// --- Lighting the chosen output pixel, everywhere at once

function light() {
  const { h } = state;
  const { phase, row, products } = pixel();
  const pixels = new Set(products.map(([n]) => n));
  const taps = new Set(products.map(([, t]) => t));
  const places = new Set(products.map(([, , s]) => s));
  const lit = ({ h: cellH, n, t, f, s }, node) => {
    if (cellH !== undefined) return Number(cellH) === h; // an output, a row, or a weight of the matrix
    if (n !== undefined) return pixels.has(Number(n));
    if (t !== undefined) return taps.has(Number(t)); // the window of view 1
    return f !== undefined && Number(f) === phase && places.has(Number(s)) && !node.classList.contains("nothing");
  };
  for (const node of document.querySelectorAll(".views [data-h], .views [data-n], .views [data-t], .views [data-f]")) {
    node.classList.toggle("lit", lit(node.dataset, node));
  }
  slide("slide-zeros", h);
  slide("slide-phases", row);
  byId("h").value = h;
  byId("h").setAttribute("aria-valuetext", `${h} of 0 to ${byId("h").max}`);
  describePixel();
}

function slide(id, steps) {
  byId(id).style.transform = `translateX(${steps * Number(byId(id).dataset.step)}px)`;
}

// --- The checkerboard, in two dimensions

function drawBoard() {
  const { r, k, f } = state;
  const { size, tap_phases, taps, sums } = layer().starts[state.icnr][state.draw];
  const colour = (phase) => (r * r <= 9 ? `f${phase}` : "plain");
  const grid = (id, count, make) => {
    const side = 240 / count;
    const cells = Array.from({ length: count * count }, (_, i) => make(i % count, Math.floor(i / count), side));
    byId(id).setAttribute("viewBox", "0 0 240 240");
    byId(id).replaceChildren(...cells);
  };
  grid("kernel", size, (i, j, side) => {
    const phase = tap_phases[j] * r + tap_phases[i];
    return cell(i * side, j * side, side, phase, `tap ${colour(phase)}${phase === f ? " lit" : ""}`, { f: phase });
  });
  const most = Math.max(...taps);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const away = (values) => values.map((value) => value - mean(values));
  const scale = Math.max(...away(layer().starts[0][state.draw].sums).map(Math.abs)); // of the random start, for both
  const tile = (value, shade) => (i, j, side) => { // 12 divides by every r, so whole periods are seen
    const phase = (j % r) * r + (i % r);
    const node = cell(i * side, j * side, side, value(phase), `shade${phase === f ? " lit" : ""}`, { f: phase });
    const grey = Math.round(255 * shade(phase));
    node.style.setProperty("--shade", `rgb(${grey}, ${grey}, ${grey})`);
    node.classList.toggle("deep", grey < 118); // where white is read better than black
    return node;
  };
  grid("taps", 12, tile((phase) => taps[phase], (phase) => 0.95 - 0.4 * (taps[phase] / most)));
  grid("sums", 12, tile((phase) => (phase === f ? "•" : ""), (phase) => 0.5 + 0.45 * (away(sums)[phase] / scale)));
  describeBoard(size, taps, sums);
}

function describeBoard(size, taps, sums) {
  const { r, k, f, icnr } = state;
  const number = (value) => value.toFixed(2).replace("-", MINUS);
  const [low, high] = [Math.min(...sums), Math.max(...sums)];
  const [fewest, most] = [Math.min(...taps), Math.max(...taps)];
  const span = (a, b, text) => (a === b ? `${text(a)} everywhere` : `${text(a)} to ${text(b)}`);
  byId("about-board").textContent =
    (k % r
      ? `Its kernel of ${k} × ${k} isn’t a multiple of r = ${r}, so some output pixels get more taps than others: a checkerboard that ` +
        "equal weights would have too. "
      : `Its kernel of ${k} × ${k} is a multiple of r = ${r}, so all output pixels get equally many taps; with k = ${k < 9 ? k + 1 : 8} they would not. `) +
    (icnr ? "" : `Drawn at random, the ${r * r} phase kernels have different sums: a checkerboard that any kernel size starts with.`);
  byId("about-icnr").textContent = icnr
    ? "The flat image stays flat." +
      (size > k ? ` Each phase needs equally many taps for that, so here the kernel has grown to ${size} × ${size}.` : "")
    : "";
  byId("caption-kernel").textContent = `The kernel, ${size} × ${size}: the phase of each tap`;
  byId("caption-taps").textContent = `Taps that reach each output pixel: ${span(fewest, most, String)}`;
  byId("caption-sums").textContent = `What the flat image becomes: ${span(low, high, number)}; mid-grey is the mean`;
  byId("spoken-board").textContent =
    `Phase ${f}, row ${Math.floor(f / r)}, column ${f % r} of each ${r} × ${r} block: ${some(taps[f], "tap")}, sum ${number(sums[f])}.`;
  byId("f").max = r * r - 1;
  byId("f").value = f;
}

// --- The code

function writeCode() {
  const { lr } = layer();
  const { r, k, p } = state;
  byId("code").textContent = code
    .replace(/^r, k, p = .*?  #/m, `r, k, p = ${r}, ${k}, ${p}  #`)
    .replace(/^K, lead, low, high = .*?  #/m, `K, lead, low, high = ${lr.taps}, ${lr.lead}, ${lr.low}, ${lr.high}  #`);
  byId("copied").textContent = "";
}

async function copy() {
  const text = byId("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
    byId("copied").textContent = "Copied.";
  } catch { // not allowed, or no clipboard here
    getSelection().selectAllChildren(byId("code"));
    byId("copied").textContent = document.execCommand("copy") ? "Copied." : "The code is selected: copy it with Ctrl+C or ⌘C.";
  }
}

// --- Controls

function choose(changes) {
  widths = narrow.matches ? { zeros: 360, matrix: 300, phases: 360 } : { zeros: 470, matrix: 290, phases: 400 };
  Object.assign(state, changes);
  while (!layer()) state.p -= 1; // the padding of the layer before may be too large for this kernel
  state.h = Math.min(state.h, layer().output.length - 1);
  state.f = Math.min(state.f, state.r ** 2 - 1);
  byId("h").max = layer().output.length - 1;
  for (const radio of document.querySelectorAll("fieldset input")) {
    const value = Number(radio.value);
    radio.checked = value === state[radio.name];
    radio.disabled = radio.name === "p" && !layers[`${state.r},${state.k},${value}`];
  }
  for (const button of document.querySelectorAll("[data-layer]")) {
    button.setAttribute("aria-pressed", button.dataset.layer === `${state.r},${state.k},${state.p}`);
  }
  drawZeros();
  drawMatrix();
  drawPhases();
  describe();
  drawBoard();
  writeCode();
  light();
  remember();
}

function step(by) {
  select((state.h + by + layer().output.length) % layer().output.length);
}

function select(h) {
  if (h === state.h) return;
  state.h = h;
  light();
  remember();
}

function selectPhase(f) {
  state.f = f;
  drawBoard();
}

let remembering = 0;

function remember() { // so that a link shows what its sender saw; browsers refuse too many changes in a row
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const { r, k, p, h } = state;
    history.replaceState(null, "", `#r=${r}&k=${k}&p=${p}&h=${h}`);
  }, 400);
}

function recall() {
  const asked = Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].map(([key, value]) => [key, Number(value)]));
  const { r, k, p, h = 0 } = asked;
  const known = layers[`${r},${k},${p}`];
  choose(known ? { r, k, p, h: known.output[h] ? h : 0 } : {});
}

function makeRadios(name, index) {
  for (const value of [...new Set(names.map((each) => each[index]))].sort((a, b) => a - b)) {
    const radio = Object.assign(document.createElement("input"), { type: "radio", name, value });
    const text = document.createElement("label");
    text.append(radio, Object.assign(document.createElement("span"), { textContent: value }));
    byId(name).append(text);
  }
  byId(name).addEventListener("change", (event) => choose({ [name]: Number(event.target.value) }));
}

function flip(button) {
  const on = button.getAttribute("aria-checked") !== "true";
  button.setAttribute("aria-checked", on);
  return on;
}

let playing = 0;

function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => step(1), 900) : 0;
  byId("play").textContent = on ? "Pause" : "Play";
  byId("spoken").setAttribute("aria-live", on ? "off" : "polite"); // a sentence each second is too many
}

["r", "k", "p"].forEach(makeRadios);
byId("back").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("h").addEventListener("input", (event) => select(Number(event.target.value)));
byId("play").addEventListener("click", () => play(!playing));
byId("sort").addEventListener("click", (event) => { flip(event.currentTarget); placeRows(); });
byId("icnr").addEventListener("click", (event) => { state.icnr = Number(flip(event.currentTarget)); drawBoard(); });
byId("draw").addEventListener("click", () => { state.draw = (state.draw + 1) % layer().starts[0].length; drawBoard(); });
byId("f").addEventListener("input", (event) => selectPhase(Number(event.target.value)));
byId("copy").addEventListener("click", copy);
byId("theme").addEventListener("click", () => {
  const chosen = document.documentElement.dataset;
  const dark = chosen.theme ? chosen.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  chosen.theme = dark ? "light" : "dark";
});
document.querySelectorAll("[data-layer]").forEach((button) => button.addEventListener("click", () => {
  const [r, k, p] = button.dataset.layer.split(",").map(Number);
  choose({ r, k, p });
}));
for (const kind of ["pointerover", "click"]) {
  document.querySelector(".views").addEventListener(kind, (event) => {
    const at = event.target.closest("[data-h]");
    if (at) select(Number(at.dataset.h));
  });
  document.querySelector(".maps").addEventListener(kind, (event) => {
    const at = event.target.closest("[data-f]");
    if (at && Number(at.dataset.f) !== state.f) selectPhase(Number(at.dataset.f));
  });
}
document.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  const elsewhere = event.target.closest("input, pre, .scroll") || event.ctrlKey || event.metaKey || event.altKey;
  if (!by || elsewhere || (event.key !== "ArrowLeft" && event.key !== "ArrowRight" && !event.target.closest(".views"))) return;
  event.preventDefault();
  step(by);
});
narrow.addEventListener("change", () => choose({}));
addEventListener("hashchange", recall);
recall();
