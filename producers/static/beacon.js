/* Lynceus beacon. SPDX-License-Identifier: Apache-2.0. Copyright The Lynceus developers.
   <script async src="https://collect.example/beacon.js" data-key="lkb_..."></script>
   What it reads from the page and what it sends: docs/collecting.md. Nothing before consent. */
(() => {
  "use strict";
  if (window.lynceus) return;
  const script = document.currentScript;
  const set = script.dataset;
  const url = new URL("v1/events", set.collector || script.src).href;
  const GAP = 30 * 60e3; // silence that ends a session
  const KEPT = 500; // events that wait for a network
  const BATCH = 50; // fits the 64 kB that a browser allows on leaving
  const CHECKINS = (set.checkins || "5,15,30,60,120,300,600").split(",").map((s) => s * 1e3);
  const NUMBERS = ["relevance", "propensity", "predicted"];
  const LABELS = ["surface", "arm", "policy", "segment"];

  let consent = false;
  let user = set.user;
  let queue = [];
  let sending = false;
  let failures = 0;
  let notBefore = 0; // when the collector wants to hear from us again
  let timer, view, upcoming, held;
  let visible = new Map(); // element -> [time at which it came into view, timer]
  let seen = new Set();
  const api = { dropped: 0 };

  const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
  // Storage may be forbidden or full: then the page is all the memory there is.
  const load = (name) => { try { return JSON.parse(localStorage.getItem("lynceus." + name)); } catch { return null; } };
  const save = (name, value) => { try { localStorage.setItem("lynceus." + name, JSON.stringify(value)); } catch { /* as above */ } };
  const forget = (name) => { try { localStorage.removeItem("lynceus." + name); } catch { /* as above */ } };

  const who = () => {
    if (!user && !(user = load("user"))) save("user", (user = random()));
    return user;
  };

  const session = (now) => {
    let [id, last] = load("session") || held || [];
    if (!id || now - last > GAP) id = random();
    save("session", (held = [id, now]));
    return id;
  };

  const track = (type, fields) => {
    if (!consent) return;
    const now = Date.now();
    queue.push({ type, id: random(), ts: now, user: who(), session: session(now), channel: set.channel || "web", consent: { analytics: true }, ...fields });
    bound();
    if (queue.length >= BATCH) send(); else later(1000);
  };

  const bound = () => {
    const surplus = queue.length - KEPT;
    if (surplus > 0) { queue.splice(0, surplus); api.dropped += surplus; }
  };

  // Each page keeps its own queue, or two tabs would overwrite each other's; the next page takes what it finds.
  const mine = "queue." + random();
  const keep = () => (queue.length ? save(mine, queue) : forget(mine));
  const found = () => { try { return Object.keys(localStorage).filter((key) => key.startsWith("lynceus.queue.")).map((key) => key.slice(8)); } catch { return []; } };
  const body = (events) => JSON.stringify({ key: set.key, sent_at: Date.now(), events });
  const later = (ms) => { timer = timer || setTimeout(() => { timer = 0; send(); }, Math.max(ms, notBefore - Date.now())); };

  // What is not acknowledged stays in the queue, with its ids: sent twice is counted once.
  const send = async () => {
    if (sending || !consent || !queue.length) return;
    if (Date.now() < notBefore) return later(0);
    sending = true;
    const events = queue.slice(0, BATCH);
    let status = 0, wait = 0;
    try {
      // text/plain needs no preflight.
      const answer = await fetch(url, { method: "POST", body: body(events), keepalive: true, credentials: "omit", headers: { "Content-Type": "text/plain" } });
      status = answer.status;
      wait = answer.headers.get("Retry-After") * 1e3;
    } catch { /* no network: status 0 */ }
    sending = false;
    if (!consent) return;
    if (!status || status === 408 || status === 429 || status >= 500) {
      keep();
      notBefore = Date.now() + Math.max(wait, Math.min(60e3, 1e3 * 2 ** failures++));
      return later(0);
    }
    if (status >= 400) api.dropped += events.length; // it would be refused again
    const gone = new Set(events);
    queue = queue.filter((event) => !gone.has(event));
    failures = 0;
    keep();
    if (queue.length) send();
  };

  // On leaving nobody waits for an answer: what the browser takes over is taken for sent, unless it is offline.
  const leave = () => {
    if (!consent) return;
    while (queue.length && navigator.onLine && !failures) {
      if (!navigator.sendBeacon(url, body(queue.slice(0, BATCH)))) break;
      queue.splice(0, BATCH);
    }
    keep();
  };

  const near = (element, name) => {
    const key = "lynceus" + name[0].toUpperCase() + name.slice(1);
    const holder = element.closest(`[data-lynceus-${name}]`);
    return holder ? holder.dataset[key] : undefined;
  };

  const described = (element) => {
    const event = { decision: near(element, "decision"), item: near(element, "item"), position: +near(element, "position") };
    for (const name of LABELS) event[name] = near(element, name);
    return event;
  };

  const impression = (element, ms) => {
    const event = described(element);
    const key = [event.decision, event.item, event.position].join("\n");
    if (seen.has(key) || !event.decision || !event.position) return;
    seen.add(key);
    for (const name of NUMBERS) {
      const value = near(element, name);
      if (value !== undefined) event[name] = +value;
    }
    track("impression", { ...event, viewable_ms: ms });
  };

  const hide = (element) => {
    const since = visible.get(element);
    if (since) { clearTimeout(since[1]); visible.delete(element); }
  };

  // Seen = at least half of it in view, for at least a second, in a page that is shown.
  const observer = new IntersectionObserver((changes) => {
    for (const { target, intersectionRatio } of changes) {
      if (intersectionRatio < 0.5 || document.hidden) { hide(target); continue; }
      if (visible.has(target)) continue;
      const began = Date.now();
      visible.set(target, [began, setTimeout(() => { impression(target, Date.now() - began); observer.unobserve(target); hide(target); }, 1000)]);
    }
  }, { threshold: 0.5 });

  const watch = (root) => {
    if (root.matches && root.matches("[data-lynceus-item]")) observer.observe(root);
    if (root.querySelectorAll) for (const element of root.querySelectorAll("[data-lynceus-item]")) observer.observe(element);
  };
  const arrivals = new MutationObserver((changes) => { for (const { addedNodes } of changes) addedNodes.forEach(watch); });

  const click = (event) => {
    const element = event.target.closest && event.target.closest("[data-lynceus-item]");
    if (!element) return;
    const since = visible.get(element);
    impression(element, since ? Date.now() - since[0] : 0); // what is clicked was seen, even in under a second
    const { position, ...rest } = described(element);
    if (rest.decision) track("click", { ...rest, position: position || undefined, kind: near(element, "kind") });
  };

  const shown = () => { // of the page, in percent, furthest so far
    const { scrollHeight } = document.documentElement;
    view.scroll = Math.max(view.scroll, Math.min(100, ((scrollY + innerHeight) / Math.max(1, scrollHeight)) * 100));
  };

  // A view is engaged in check-ins: each says when the next is due, so a missing one bounds the time of leaving.
  const engage = (final) => {
    if (!view) return;
    clearTimeout(upcoming);
    const elapsed = Date.now() - view.began;
    const next = CHECKINS.find((at) => at > elapsed);
    shown();
    const active = view.active + (document.hidden ? 0 : Date.now() - view.since);
    track("engagement", {
      view: view.id, elapsed_ms: elapsed, final, scroll_pct: Math.round(view.scroll), active_ms: Math.min(active, elapsed),
      next_checkin_ms: final ? undefined : next,
    });
    if (final) view = undefined;
    else if (next) upcoming = setTimeout(engage, next - elapsed, false);
  };

  const open = () => {
    const from = document.referrer;
    const now = Date.now();
    view = { id: random(), began: now, since: now, active: 0, scroll: 0 };
    shown();
    const where = !from ? "direct" : new URL(from).origin === location.origin ? "internal" : "external";
    // The path alone: what follows it may name a person.
    track("page_view", { page: (set.page || location.pathname).slice(0, 256), referrer_class: where });
    if (CHECKINS[0]) upcoming = setTimeout(engage, CHECKINS[0], false);
    observer.disconnect();
    watch(document);
    arrivals.observe(document.documentElement, { childList: true, subtree: true });
  };

  const close = () => { engage(true); leave(); };

  const start = () => {
    for (const name of found()) { queue.push(...(load(name) || [])); forget(name); }
    bound();
    keep();
    open();
  };

  const stop = () => {
    clearTimeout(upcoming);
    clearTimeout(timer);
    observer.disconnect();
    arrivals.disconnect();
    visible.forEach((_, element) => hide(element));
    view = timer = held = undefined;
    queue = [];
    seen = new Set();
    if (!set.user) user = undefined;
    [...found(), "session", "user"].forEach(forget);
  };

  // The answer to the question for consent. A no also deletes what is kept here, also from an earlier page.
  api.consent = (granted) => {
    if (granted && consent) return;
    consent = !!granted;
    granted ? start() : stop();
  };
  api.user = (key) => { user = set.user = key; };
  api.track = track;
  // For pages that change without being loaded: the old view ends, another begins.
  api.page = (name) => { set.page = name || ""; if (consent) { engage(true); seen = new Set(); open(); } };
  api.flush = send;
  window.lynceus = api;

  addEventListener("click", click, true);
  addEventListener("scroll", () => view && shown(), { passive: true });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted && consent && !view) { seen = new Set(); open(); } });
  addEventListener("online", () => { failures = notBefore = 0; send(); });
  addEventListener("visibilitychange", () => {
    if (!view) return;
    if (document.hidden) {
      view.active += Date.now() - view.since;
      visible.forEach((_, element) => hide(element));
      leave();
    } else {
      view.since = Date.now();
      // Observed anew, so that what is in view is reported again.
      observer.disconnect();
      watch(document);
    }
  }, true);
  if (set.consent === "granted") api.consent(true);
})();
