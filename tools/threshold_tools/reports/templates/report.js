const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
let shown = null;
function show(part, x, y) {
  shown?.classList.remove("on");
  shown = part;
  tip.hidden = !part;
  if (!part) return;
  part.classList.add("on");
  tip.textContent = part.dataset.tip;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 4))}px`;
  tip.style.top = `${y > box.height + 20 ? y - box.height - 12 : y + 16}px`;
}
for (const chart of document.querySelectorAll("svg.chart")) {
  const parts = [...chart.querySelectorAll("title")].map((title) => {
    const part = title.parentElement;
    part.dataset.tip = title.textContent;
    title.remove();
    return part;
  });
  const move = (event) => {
    const under = event.target.closest("[data-tip]");
    if (under) return show(under, event.clientX, event.clientY);
    let nearest = null, best = 40;
    for (const part of parts) {
      const box = part.getBoundingClientRect();
      const away = Math.hypot(event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2);
      if (away < best) [nearest, best] = [part, away];
    }
    show(nearest, event.clientX, event.clientY);
  };
  chart.addEventListener("pointermove", move);
  chart.addEventListener("pointerdown", move);
  chart.addEventListener("pointerleave", () => show(null));
}
