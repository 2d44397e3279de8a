"use strict";
// The timeline: an overview of the whole run with the part that is shown, and below it one lane a worker.
(function () {
  const run = JSON.parse(document.getElementById("run").textContent);
  const lanes = document.getElementById("lanes"), overview = document.getElementById("overview");
  if (!lanes || !run.lanes) return;

  // Tasks lie lane after lane, by start. `first[k]` is where lane k begins; starts are stored as differences.
  const first = [0], n = run.d.length, start = new Float64Array(n), depth = new Uint8Array(n);
  const longest = new Float64Array(run.lanes.length); // of each lane: how far back a visible task may begin
  let deepest = 0;
  run.lanes.forEach((lane, k) => {
    let at = 0;
    const open = [];
    for (let i = first[k]; i < first[k] + lane.tasks; i++) {
      start[i] = at += run.s[i];
      longest[k] = Math.max(longest[k], run.d[i]);
      while (open.length && open[open.length - 1] <= at + 1e-9) open.pop();
      deepest = Math.max(deepest, depth[i] = Math.min(open.length, 6));
      open.push(at + run.d[i]);
    }
    first.push(first[k] + lane.tasks);
  });

  const HEAD = 24, many = run.lanes.length;
  const laneHeight = many <= 16 ? 30 : Math.max(3, Math.min(24, Math.floor(560 / many)));
  const gap = laneHeight > 12 ? 5 : laneHeight > 6 ? 2 : 0;
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");
  let from = 0, to = run.span, color = {}, queued = false, gutter = 0;

  function theme() {
    const css = getComputedStyle(document.documentElement), get = (name) => css.getPropertyValue(name).trim();
    color = { ink: get("--ink"), soft: get("--soft"), line: get("--line"), wash: get("--wash"), clay: get("--clay"), bad: get("--bad"), card: get("--card") };
    color.functions = run.functions.map((_, i) => get(`--c${Math.min(i, 7)}`));
    color.sans = css.getPropertyValue("--sans") || "sans-serif";
  }
  function prepare(canvas, height) {
    const width = canvas.clientWidth, ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = height + "px";
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    return [g, width];
  }

  // --- words
  const trim = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
  function duration(us) {
    if (!(us > 0)) return "0";
    if (us >= 1e6) return us >= 600e6 ? (us / 60e6).toFixed(1) + " min" : trim(us / 1e6) + " s";
    return us >= 1e3 ? trim(us / 1e3) + " ms" : trim(us) + " µs";
  }
  function tick(us, step) {
    if (us === 0) return "0";
    const [size, unit] = step >= 1e5 || us >= 1e6 ? [1e6, "s"] : us >= 1e3 ? [1e3, "ms"] : [1, "µs"];
    return (us / size).toFixed(Math.max(0, Math.min(9, -Math.floor(Math.log10(step / size) + 1e-9)))) + " " + unit;
  }
  function bytes(b) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let u = 0;
    while (b >= 999.5 && u < 4) { b /= 1000; u++; }
    return (u && b < 100 ? b.toFixed(1) : b.toFixed(0)) + " " + units[u];
  }
  const step = (range, most) => {
    const raw = range / most, power = Math.pow(10, Math.floor(Math.log10(raw)));
    return power * ([1, 2, 5, 10].find((m) => m * power >= raw) || 10);
  };

  // --- drawing
  const x = (t, width) => gutter + ((t - from) / (to - from)) * (width - gutter);
  function lowest(k, t) { // first task of lane k that starts at t or later
    let a = first[k], b = first[k + 1];
    while (a < b) { const m = (a + b) >> 1; if (start[m] < t) a = m + 1; else b = m; }
    return a;
  }
  function axis(g, width, height) {
    const size = step(to - from, Math.max(2, (width - gutter) / 96));
    g.font = `11px ${color.sans}`;
    g.textBaseline = "middle";
    for (let t = Math.ceil(from / size) * size; t <= to; t += size) {
      const at = Math.round(x(t, width)) + 0.5;
      g.fillStyle = color.line;
      g.fillRect(at - 0.5, HEAD - 4, 1, height - HEAD + 4);
      g.fillStyle = color.soft;
      g.textAlign = at > width - 40 ? "right" : at < gutter + 20 ? "left" : "center";
      g.fillText(tick(Math.abs(t) < size / 1e6 ? 0 : t, size), at, 11);
    }
  }
  function drawLane(g, k, width) {
    const top = HEAD + k * laneHeight + gap / 2, height = laneHeight - gap;
    g.fillStyle = color.wash;
    g.fillRect(gutter, top, width - gutter, height);
    const pixels = Math.ceil(width - gutter) + 1, covered = new Float32Array(pixels), owner = new Uint16Array(pixels), most = new Float32Array(pixels);
    const scale = (width - gutter) / (to - from);
    let thin = false;
    for (let i = lowest(k, from - longest[k]); i < first[k + 1] && start[i] < to; i++) {
      const end = start[i] + run.d[i];
      if (end < from) continue;
      const a = Math.max(gutter, x(start[i], width)), b = Math.min(width, x(end, width)), wide = b - a;
      const bad = run.o && run.o[i];
      if (wide < 1.2 && !bad) { // too thin to draw alone: how much of each pixel is covered
        let p = Math.floor(a - gutter);
        covered[p] += Math.min(wide, p + 1 - (a - gutter));
        const over = a - gutter + wide - p - 1;
        if (wide >= most[p]) { most[p] = wide; owner[p] = run.f[i]; } // the longest gives the pixel its colour
        if (over > 0 && p + 1 < pixels) {
          covered[p + 1] += over;
          if (over >= most[p + 1]) { most[p + 1] = over; owner[p + 1] = run.f[i]; }
        }
        thin = true;
        continue;
      }
      const inset = deepest ? (depth[i] * height) / (deepest + 1.5) : 0;
      const space = wide > 5 ? 1 : wide > 2.4 ? 0.5 : 0;
      g.globalAlpha = [1, 0.86, 0.74][i % 3];
      g.fillStyle = bad ? color.bad : color.functions[run.f[i]];
      if (depth[i]) { g.globalAlpha = 1; g.fillRect(a, top + inset - 1, wide, 1); }
      g.beginPath();
      const box = [a, top + inset, Math.max(bad ? 2 : 1, wide - space), height - inset];
      if (g.roundRect && wide > 8 && height > 10) g.roundRect(...box, 3);
      else g.rect(...box);
      g.fill();
      g.globalAlpha = 1;
    }
    if (thin) {
      for (let p = 0; p < pixels; p++) {
        if (!covered[p]) continue;
        g.fillStyle = color.functions[owner[p]];
        g.globalAlpha = Math.min(1, 0.25 + 0.75 * covered[p]);
        g.fillRect(gutter + p, top, 1, height);
      }
      g.globalAlpha = 1;
    }
  }
  function drawLanes() {
    const height = HEAD + many * laneHeight + 8;
    const probe = lanes.getContext("2d");
    probe.font = `12px ${color.sans}`;
    const wanted = laneHeight >= 11 ? Math.max(...run.lanes.map((l) => probe.measureText(l.name).width)) + 26 : 10;
    gutter = Math.min(wanted, lanes.clientWidth * (lanes.clientWidth < 600 ? 0.24 : 0.2));
    const [g, width] = prepare(lanes, height);
    axis(g, width, height);
    for (let k = 0; k < many; k++) drawLane(g, k, width);
    if (laneHeight < 11) return;
    g.font = `${laneHeight > 15 ? 12 : 10}px ${color.sans}`;
    g.textAlign = "left";
    g.textBaseline = "middle";
    g.fillStyle = color.ink;
    run.lanes.forEach((lane, k) => {
      let name = lane.name;
      while (name.length > 2 && g.measureText(name).width > gutter - 20) name = name.slice(0, name.endsWith("…") ? -2 : -1) + "…";
      g.fillText(name, 12, HEAD + (k + 0.5) * laneHeight);
    });
  }

  // How many workers were busy, for each pixel of the overview; computed once for a width.
  let profile = null;
  function busyProfile(pixels) {
    if (profile && profile.length === pixels) return profile;
    profile = new Float32Array(pixels);
    const size = run.span / pixels;
    for (let k = 0; k < many; k++) {
      let reached = 0;
      for (let i = first[k]; i < first[k + 1]; i++) {
        const a = Math.max(start[i], reached), b = Math.min(run.span, start[i] + run.d[i]);
        reached = Math.max(reached, b);
        for (let p = Math.floor(a / size); p < pixels && p * size < b; p++) {
          profile[p] += Math.max(0, Math.min(b, (p + 1) * size) - Math.max(a, p * size)) / size;
        }
      }
    }
    return profile;
  }
  const OVER = 58;
  function drawOverview() {
    const [g, width] = prepare(overview, OVER);
    const busy = busyProfile(Math.max(1, Math.floor(width))), top = Math.max(1, many), high = OVER - 20;
    g.beginPath();
    g.moveTo(0, OVER);
    busy.forEach((v, p) => g.lineTo(p + 0.5, OVER - (Math.min(v, top) / top) * high));
    g.lineTo(width, OVER);
    g.fillStyle = color.clay;
    g.globalAlpha = 0.28;
    g.fill();
    g.globalAlpha = 1;
    g.beginPath();
    busy.forEach((v, p) => g[p ? "lineTo" : "moveTo"](p + 0.5, OVER - (Math.min(v, top) / top) * high));
    g.strokeStyle = color.clay;
    g.lineWidth = 1.2;
    g.stroke();
    const a = (from / run.span) * width, b = (to / run.span) * width;
    g.fillStyle = color.card;
    g.globalAlpha = 0.72;
    g.fillRect(0, 0, a, OVER);
    g.fillRect(b, 0, width - b, OVER);
    g.globalAlpha = 1;
    if (b - a < width - 1) {
      g.strokeStyle = color.ink;
      g.strokeRect(a + 0.5, 0.5, Math.max(2, b - a - 1), OVER - 1);
    }
    g.fillStyle = color.soft;
    g.font = `11px ${color.sans}`;
    g.textBaseline = "top";
    g.textAlign = "right";
    g.fillText(`busy workers, of ${many}`, width - 8, 4);
  }
  function draw() {
    queued = false;
    drawOverview();
    drawLanes();
  }
  function redraw() {
    if (!queued) { queued = true; requestAnimationFrame(draw); }
  }
  function view(a, b) {
    const least = Math.max(run.span / 1e7, 0.5), length = Math.min(run.span, Math.max(least, b - a));
    from = Math.max(0, Math.min(a + (b - a - length) / 2, run.span - length));
    to = from + length;
    redraw();
  }
  function zoom(factor, at) { view(at - (at - from) * factor, at + (to - at) * factor); }
  function glide(a, b) {
    if (reduced.matches) return view(a, b);
    const c = from, d = to, began = performance.now();
    (function next(now) {
      const p = Math.min(1, (now - began) / 180), e = p * (2 - p);
      view(c + (a - c) * e, d + (b - d) * e);
      if (p < 1) requestAnimationFrame(next);
    })(began);
  }

  // --- pointers
  const timeAt = (event) => {
    const box = lanes.getBoundingClientRect();
    return from + ((event.clientX - box.left - gutter) / (box.width - gutter)) * (to - from);
  };
  const fingers = new Map();
  lanes.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    if (event.pointerType !== "touch") lanes.setPointerCapture(event.pointerId);
    lanes.classList.add("moving");
    if (event.pointerType === "touch") hover(event);
  });
  lanes.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return hover(event);
    const width = lanes.clientWidth - gutter;
    if (fingers.size === 2) {
      const other = [...fingers.values()].find((f) => f.pointerId !== event.pointerId);
      const was = Math.abs(before.clientX - other.clientX), is = Math.abs(event.clientX - other.clientX);
      if (was > 12 && is > 12) zoom(was / is, timeAt(other));
    } else if (event.clientX !== before.clientX) {
      const by = ((before.clientX - event.clientX) / width) * (to - from);
      view(from + by, to + by);
      tip.hidden = true;
    }
    fingers.set(event.pointerId, event);
  });
  ["pointerup", "pointercancel"].forEach((kind) => lanes.addEventListener(kind, (event) => {
    fingers.delete(event.pointerId);
    lanes.classList.remove("moving");
  }));
  lanes.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") tip.hidden = true; });
  lanes.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY * 0.004), timeAt(event));
    else { const by = ((event.deltaX || event.deltaY) / lanes.clientWidth) * (to - from); view(from + by, to + by); }
  }, { passive: false });
  lanes.addEventListener("dblclick", (event) => { const t = timeAt(event), half = (to - from) / 8; glide(t - half, t + half); });
  lanes.addEventListener("keydown", (event) => {
    const by = (to - from) / 5, middle = (from + to) / 2;
    const act = { ArrowLeft: () => glide(from - by, to - by), ArrowRight: () => glide(from + by, to + by), "+": () => zoom(0.6, middle), "=": () => zoom(0.6, middle), "-": () => zoom(1.6, middle), "0": () => glide(0, run.span), Escape: () => { tip.hidden = true; } }[event.key];
    if (act) { act(); event.preventDefault(); }
  });
  let mark = null;
  const share = (event) => { const box = overview.getBoundingClientRect(); return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * run.span; };
  overview.addEventListener("pointerdown", (event) => { mark = share(event); overview.setPointerCapture(event.pointerId); });
  overview.addEventListener("pointermove", (event) => {
    if (mark === null) return;
    const t = share(event);
    if (Math.abs(t - mark) > run.span / 200) view(Math.min(mark, t), Math.max(mark, t));
  });
  ["pointerup", "pointercancel"].forEach((kind) => overview.addEventListener(kind, (event) => {
    if (mark !== null && kind === "pointerup" && Math.abs(share(event) - mark) <= run.span / 200) {
      const half = (to - from) / 2;
      if (to - from >= run.span) glide(mark - run.span / 20, mark + run.span / 20); else glide(mark - half, mark + half);
    }
    mark = null;
  }));
  document.getElementById("in").onclick = () => glide(from + (to - from) * 0.2, to - (to - from) * 0.2);
  document.getElementById("out").onclick = () => glide(from - (to - from) * 0.35, to + (to - from) * 0.35);
  document.getElementById("all").onclick = () => glide(0, run.span);

  // --- what is under the pointer
  const tip = document.getElementById("tip");
  function find(k, t, slack) {
    let best = -1, distance = slack;
    for (let i = lowest(k, t - longest[k] - slack); i < first[k + 1] && start[i] <= t + slack; i++) {
      const away = t < start[i] ? start[i] - t : Math.max(0, t - start[i] - run.d[i]);
      if (away < distance || (away === 0 && best >= 0 && depth[i] > depth[best])) { best = i; distance = away; }
    }
    return best;
  }
  function hover(event) {
    const box = lanes.getBoundingClientRect(), k = Math.floor((event.clientY - box.top - HEAD) / laneHeight);
    const slack = (3 * (to - from)) / (box.width - gutter);
    const i = k >= 0 && k < many && event.clientX - box.left >= gutter ? find(k, timeAt(event), slack) : -1;
    tip.hidden = i < 0;
    if (i < 0) return;
    const rows = [];
    const merged = run.c && run.c[i] > 1;
    if (merged) rows.push(["tasks", run.c[i].toLocaleString("en")]);
    else if (run.n && run.n[i] >= 0) rows.push(["task", String(run.n[i])]);
    if (run.i && run.i[i] !== 1) rows.push(["items", run.i[i].toLocaleString("en")]);
    rows.push([merged ? "took" : "ran", duration(run.d[i])], ["began at", duration(start[i])]);
    if (run.q && run.q[i] >= 0) rows.push(["waited", duration(run.q[i])]);
    if (run.in && run.in[i]) rows.push(["bytes in", bytes(run.in[i])]);
    if (run.out && run.out[i]) rows.push(["bytes out", bytes(run.out[i])]);
    if (run.o && run.o[i]) rows.push(["ended", run.o[i]]);
    rows.push(["on", run.lanes[k].name]);
    const list = document.createElement("dl"), head = document.createElement("b");
    head.textContent = run.functions[run.f[i]];
    for (const [name, text] of rows) {
      list.appendChild(document.createElement("dt")).textContent = name;
      list.appendChild(document.createElement("dd")).textContent = text;
    }
    tip.replaceChildren(head, list);
    const size = tip.getBoundingClientRect();
    let left = event.clientX + 16, top = event.clientY + 16;
    if (left + size.width > innerWidth - 8) left = Math.max(8, event.clientX - size.width - 12);
    if (top + size.height > innerHeight - 8) top = Math.max(8, event.clientY - size.height - 12);
    tip.style.transform = `translate(${left}px, ${top}px)`;
  }
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  new ResizeObserver(redraw).observe(lanes);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { theme(); redraw(); });
  theme();
  draw();
  document.documentElement.dataset.drawn = String(n); // for those who look at the page by program
})();
