// Plots and sparklines as SVG.
const NS = "http://www.w3.org/2000/svg";
function svg(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
function path(points, x, y) {
  let d = "", pen = false;
  for (const [at, value] of points) {
    if (value === null) { pen = false; continue; }
    d += `${pen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`; pen = true;
  }
  return d;
}
function nice(top) {
  const step = 10 ** Math.floor(Math.log10(top));
  return Math.max([1.2, 2, 4, 8, 12].map((f) => f * step).find((value) => value >= top), 4);
}
const known = (points) => points.filter(([, value]) => value !== null);

export function spark(points, label) {
  const box = svg("svg", { class: "plot", viewBox: "0 0 120 28", height: 28, preserveAspectRatio: "none", role: "img", "aria-label": label });
  const real = known(points);
  if (!real.length) return box;
  const [t0, t1] = [real[0][0], Math.max(real.at(-1)[0], real[0][0] + 1)];
  const values = real.map(([, value]) => value);
  const low = Math.min(0, ...values), high = Math.max(...values, low + 1e-9) * 1.05 || 1;
  const x = (at) => ((at - t0) / (t1 - t0)) * 120, y = (value) => 27 - ((value - low) / (high - low)) * 25;
  const d = path(real, x, y);
  box.append(svg("path", { class: "area", d: `${d}L${x(real.at(-1)[0])} 28L0 28Z` }), svg("path", { d }));
  return box;
}

// series: [{name, points: [[ms, value|null]]}]; the value axis starts at 0.
export function plot(series, unit, from, to, label) {
  const [W, H] = innerWidth > 700 ? [640, 210] : [420, 180], L = 46, R = 8, T = 10, B = 24;
  const box = svg("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
  const top = nice(Math.max(1, ...series.flatMap(({ points }) => known(points).map(([, value]) => value))) * 1.02);
  const x = (at) => L + ((at - from) / (to - from)) * (W - L - R), y = (value) => H - B - (value / top) * (H - T - B);
  for (let i = 0; i <= 4; i++) {
    const value = (top * i) / 4;
    box.append(svg("line", { x1: L, x2: W - R, y1: y(value), y2: y(value) }));
    box.append(svg("text", { x: L - 6, y: y(value) + 4, "text-anchor": "end" }, `${+value.toPrecision(3)}${i === 4 ? ` ${unit}` : ""}`));
  }
  const long = to - from > 36 * 3600e3, brief = to - from < 5 * 60e3;
  for (let i = 0; i <= 4; i++) {
    const at = from + ((to - from) * i) / 4, date = new Date(at);
    const text = long ? date.toLocaleDateString([], { day: "numeric", month: "short" }) : date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false, ...(brief ? { second: "2-digit" } : {}) });
    box.append(svg("text", { x: x(at), y: H - 7, "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" }, text));
  }
  series.forEach(({ points }, i) => box.append(svg("path", { class: `s${i}`, d: path(points.filter(([at]) => at >= from), x, y) })));
  return box;
}
export function swatch(i) {
  const box = svg("svg", { class: "plot", viewBox: "0 0 20 8", "aria-hidden": "true" });
  box.append(svg("path", { class: `s${i}`, d: "M0 4L20 4" }));
  return box;
}
