"use strict";
for (const box of document.querySelectorAll(".map")) {
  const data = JSON.parse(box.querySelector("script").textContent);
  const canvas = box.querySelector("canvas");
  const tip = box.querySelector(".tip");
  const legend = box.querySelector(".map-legend");
  const resting = tip.textContent;
  const pad = 40;
  if (innerWidth < 700) [canvas.width, canvas.height] = [760, 640];
  let by = data.clusters ? "cluster" : "fate";
  let chosen = null;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  /* The largest clusters have colors of their own, which differ for the color-blind too; the others share one. */
  const sizes = new Map();
  for (const point of data.points) if (point[2] >= 0) sizes.set(point[2], (sizes.get(point[2]) || 0) + 1);
  const ranked = [...sizes].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([index]) => index);
  const group = (point) => (by === "cluster" ? point[2] : point[3]);
  /* The fates have the colors that they have everywhere; steps that filter differ in how dark theirs is. */
  function color(index) {
    if (by === "cluster") return css(`--cluster${ranked.indexOf(index)}`) || css("--dim");
    if (index === 0) return css("--kept");
    const failed = data.fates[index].startsWith("failed");
    const nth = data.fates.slice(1, index).filter((each) => each.startsWith("failed") === failed).length;
    const own = css(failed ? "--failed" : "--filtered");
    return `color-mix(in srgb, ${own}, ${css("--ink")} ${Math.min(70, 22 * nth)}%)`;
  }
  const name = (index) => (by === "cluster" ? (index < 0 ? "none" : `${index}`) : data.fates[index]);
  const place = (point) => [
    pad + point[0] * (canvas.width - 2 * pad),
    pad + (1 - point[1]) * (canvas.height - 2 * pad),
  ];

  function draw() {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const size = (data.points.length > 800 ? 6 : 9) * (canvas.width < 1000 ? 0.8 : 1);
    for (const point of data.points) {
      const [x, y] = place(point);
      pen.globalAlpha = point === chosen ? 1 : 0.72;
      pen.fillStyle = color(group(point));
      pen.beginPath();
      if (point[3] === 0) pen.arc(x, y, size, 0, 7);
      else pen.rect(x - size * 0.8, y - size * 0.8, size * 1.6, size * 1.6);
      pen.fill();
      if (point === chosen) {
        pen.lineWidth = 4;
        pen.strokeStyle = css("--ink");
        pen.stroke();
      }
    }
  }

  function label() {
    legend.replaceChildren();
    const counts = new Map();
    for (const point of data.points) counts.set(group(point), (counts.get(group(point)) || 0) + 1);
    const groups = [...counts].sort((a, b) => (by === "cluster" ? b[1] - a[1] : a[0] - b[0]));
    for (const [index, rows] of groups.slice(0, 12)) {
      const item = document.createElement("span");
      const key = document.createElement("span");
      key.className = "key";
      key.style.background = color(index);
      item.append(key, `${name(index)} (${rows})`);
      legend.append(item);
    }
    if (groups.length > 12) legend.append(`and ${groups.length - 12} more`);
  }

  function show(next) {
    by = next;
    for (const button of box.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.by === by));
    }
    box.dataset.by = by;
    label();
    draw();
  }

  function tell(point) {
    chosen = point;
    if (point) {
      const cluster = point[2] < 0 ? "" : `, cluster ${point[2]}`;
      tip.textContent = `${data.fates[point[3]]}${cluster} · ${point[4]}`;
    } else tip.textContent = resting;
    draw();
  }

  for (const button of box.querySelectorAll("button")) {
    button.addEventListener("click", () => show(button.dataset.by));
    if (button.dataset.by === "cluster" && !data.clusters) button.hidden = true;
  }
  function point(event) {
    const frame = canvas.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * canvas.width;
    const y = ((event.clientY - frame.top) / frame.height) * canvas.height;
    let nearest = null;
    let least = 30 ** 2;
    for (const point of data.points) {
      const [px, py] = place(point);
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least) [nearest, least] = [point, far];
    }
    if (nearest !== chosen) tell(nearest);
  }
  canvas.addEventListener("mousemove", point);
  canvas.addEventListener("click", point);
  canvas.addEventListener("keydown", (event) => {
    const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!turn) return;
    event.preventDefault();
    const count = data.points.length;
    tell(data.points[(data.points.indexOf(chosen) + turn + count) % count]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(by));
  show(by);
}
