// Rates and times from hookmux's own metrics: what happened between two polls.

const wanted = /^hookmux_(event_duration_seconds|decisions_total|provider_answers_total|provider_answer_duration_seconds|notifications_total)/;
const line = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)/;
const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(label)) {
    labels[name] = value.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
  }
  return labels;
}

const newHistogram = () => ({ count: 0, buckets: new Map() });

function entry(map, key, make) {
  let v = map.get(key);
  if (v === undefined) map.set(key, (v = make()));
  return v;
}

const sum = (map, key, value) => map.set(key, (map.get(key) ?? 0) + value);

// parse takes from Prometheus' text what the page shows.
export function parse(text) {
  const s = { hooks: new Map(), providers: new Map(), refused: new Map(), missing: new Map(), told: new Map(), lost: new Map() };
  for (const row of text.split('\n')) {
    if (!wanted.test(row)) continue;
    const [, name, inner, number] = line.exec(row) ?? [];
    const value = Number(number);
    if (!name || Number.isNaN(value)) continue;
    const l = labelsOf(inner ?? '');
    const histogram = /^hookmux_(event|provider_answer)_duration_seconds_(bucket|count)$/.exec(name);
    if (histogram) {
      const event = histogram[1] === 'event';
      const h = entry(event ? s.hooks : s.providers, event ? l.hook : l.provider, newHistogram);
      if (histogram[2] === 'count') h.count += value;
      else sum(h.buckets, l.le === '+Inf' ? Infinity : Number(l.le), value); // of all of a provider's hooks
    } else if (name === 'hookmux_decisions_total') {
      if (l.answer === 'deny' || l.answer === 'drop') sum(s.refused, l.hook, value);
    } else if (name === 'hookmux_provider_answers_total') {
      if (!verdicts.has(l.outcome)) sum(s.missing, l.provider, value);
    } else if (name === 'hookmux_notifications_total') {
      if (l.outcome !== 'dead_letter') sum(l.outcome === 'delivered' ? s.told : s.lost, l.provider, value); // that is kept
    }
  }
  return s;
}

// Any other outcome is a reason why there was no answer.
const verdicts = new Set(['ignore', 'allow', 'deny', 'pass', 'rewrite', 'drop']);

// minus is what a histogram got since an earlier state of it.
function minus(h, before) {
  if (!before) return h;
  const d = newHistogram();
  d.count = h.count - before.count;
  for (const [le, n] of h.buckets) d.buckets.set(le, n - (before.buckets.get(le) ?? 0));
  return d;
}

function plus(histograms) {
  const s = newHistogram();
  for (const h of histograms) {
    s.count += h.count;
    for (const [le, n] of h.buckets) sum(s.buckets, le, n);
  }
  return s;
}

// quantile is the time, in seconds, in which the part q was answered, as Prometheus
// estimates it: evenly within a bucket. NaN if there was nothing; what is beyond the last
// bucket counts as its bound.
export function quantile(h, q) {
  const buckets = [...h.buckets].sort((a, b) => a[0] - b[0]);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return NaN;
  const rank = q * all;
  let low = 0, below = 0;
  for (const [le, n] of buckets) {
    if (n >= rank) return le === Infinity ? low : low + ((le - low) * (rank - below)) / Math.max(n - below, 1e-9);
    low = le;
    below = n;
  }
  return low;
}

const perSecond = (now, before, key, seconds) => Math.max(0, ((now.get(key) ?? 0) - (before.get(key) ?? 0)) / seconds);
const total = (map) => [...map.values()].reduce((a, b) => a + b, 0);

function timesOf(d, seconds) {
  return { rate: d.count / seconds, p50: quantile(d, 0.5), p99: quantile(d, 0.99) };
}

export const WINDOW = 10_000; // ms: what a rate is taken over, so that few events do not flicker
export const KEEP = 300_000; // ms: what a chart shows

// History is what the polls of the last minutes said.
export class History {
  polls = []; // of the last WINDOW, the newest last
  points = new Map(); // of charts, by their name: [time, value]…
  now = null; // the newest rates and times; null until there are two polls
  error = ''; // why there are none

  forget() {
    this.polls = [];
    this.points.clear();
    this.now = null;
  }

  // add takes what /metrics said at a time in ms. valued says which hooks have an answer.
  add(time, text, valued) {
    const s = parse(text);
    const last = this.polls.at(-1);
    // Counters that went back are of a new start, and after a pause the last poll is too old.
    if (last && (shrank(s.hooks, last.s.hooks) || time - last.time > 3 * WINDOW)) {
      this.polls = [];
      this.now = null;
    }
    this.polls.push({ time, s });
    while (this.polls.length > 2 && time - this.polls[1].time >= WINDOW) this.polls.shift();
    this.error = '';
    if (this.polls.length < 2) return;
    const before = this.polls[0];
    this.now = difference(s, before.s, (time - before.time) / 1000, valued);
    this.note(time);
  }

  note(time) {
    const { all, hooks } = this.now;
    for (const [name, v] of Object.entries(all)) this.point(`all ${name}`, time, v);
    for (const [hook, r] of hooks) {
      for (const name of ['rate', 'p50', 'p99']) this.point(`${hook} ${name}`, time, r[name]);
    }
    for (const [name, points] of this.points) {
      while (points.length && points[0][0] < time - KEEP) points.shift();
      if (!points.length) this.points.delete(name);
    }
  }

  point(name, time, value) {
    entry(this.points, name, () => []).push([time, value]);
  }

  of(name) {
    return this.points.get(name) ?? [];
  }
}

function shrank(now, before) {
  for (const [key, h] of before) if ((now.get(key)?.count ?? 0) < h.count) return true;
  return false;
}

function difference(s, before, seconds, valued) {
  const hooks = new Map();
  const decided = [];
  let events = 0;
  for (const [hook, h] of s.hooks) {
    const d = minus(h, before.hooks.get(hook));
    events += d.count;
    if (valued.has(hook)) decided.push(d);
    hooks.set(hook, { ...timesOf(d, seconds), refused: perSecond(s.refused, before.refused, hook, seconds) });
  }
  const providers = new Map();
  for (const name of new Set([...s.providers.keys(), ...s.told.keys(), ...s.lost.keys(), ...s.missing.keys()])) {
    const asked = s.providers.get(name);
    providers.set(name, {
      ...(asked ? timesOf(minus(asked, before.providers.get(name)), seconds) : { rate: 0, p50: NaN, p99: NaN }),
      missing: perSecond(s.missing, before.missing, name, seconds),
      told: perSecond(s.told, before.told, name, seconds),
      lost: perSecond(s.lost, before.lost, name, seconds),
    });
  }
  const d = timesOf(plus(decided), seconds);
  const of = (name) => Math.max(0, (total(s[name]) - total(before[name])) / seconds);
  return {
    hooks, providers,
    all: { events: events / seconds, decisions: d.rate, p50: d.p50, p99: d.p99, refused: of('refused'), missing: of('missing') + of('lost') },
  };
}
