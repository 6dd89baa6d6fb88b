// Rates and times from two polls, without a browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History, parse, quantile } from '../static/metrics.js';

const histogram = (name, labels, counts) => Object.entries(counts).map(([le, n]) => `${name}_bucket{${labels},le="${le}"} ${n}`).join('\n') + `\n${name}_count{${labels}} ${counts['+Inf']}\n`;
const events = (counts, hook = 'client.authenticate') => histogram('hookmux_event_duration_seconds', `hook="${hook}"`, counts);

const close = (got, want) => assert.ok(Math.abs(got - want) < 1e-6, `${got}, want ${want}`);

test('quantiles are estimated within a bucket', () => {
  const h = parse(events({ 0.001: 50, 0.01: 100, '+Inf': 100 })).hooks.get('client.authenticate');
  close(quantile(h, 0.5), 0.001);
  close(quantile(h, 0.75), 0.0055);
  close(quantile(h, 0.25), 0.0005);
});

test('what is beyond the last bucket counts as its bound', () => {
  const h = parse(events({ 0.001: 0, 5: 1, '+Inf': 100 })).hooks.get('client.authenticate');
  close(quantile(h, 0.99), 5);
});

test('nothing has no quantile', () => {
  assert.ok(Number.isNaN(quantile(parse(events({ 0.001: 0, '+Inf': 0 })).hooks.get('client.authenticate'), 0.5)));
});

test('labels are unescaped, and what is not wanted is left out', () => {
  const s = parse('# HELP x y\ngo_goroutines 7\nhookmux_notifications_total{provider="a\\"b\\\\c",hook="x",outcome="delivered"} 3\nhookmux_notifications_total{provider="p",outcome="lane_full"} 2\n');
  assert.deepEqual([...s.told], [['a"b\\c', 3]]);
  assert.deepEqual([...s.lost], [['p', 2]]);
});

test('a rate is the difference of two polls', () => {
  const h = new History();
  const valued = new Set(['client.authenticate']);
  h.add(0, events({ 0.001: 1000, 0.01: 1000, '+Inf': 1000 }), valued);
  assert.equal(h.now, null);
  h.add(2000, events({ 0.001: 1000, 0.01: 1100, '+Inf': 1100 }) + events({ 0.001: 20, '+Inf': 20 }, 'client.connected')
    + 'hookmux_decisions_total{hook="client.authenticate",answer="deny"} 10\nhookmux_decisions_total{hook="client.authenticate",answer="allow"} 90\n'
    + 'hookmux_provider_answers_total{provider="p",hook="client.authenticate",outcome="timeout"} 4\nhookmux_provider_answers_total{provider="p",hook="client.authenticate",outcome="deny"} 10\n', valued);
  const r = h.now.hooks.get('client.authenticate');
  close(r.rate, 50);
  close(r.refused, 5);
  close(r.p50, 0.0055); // of the new ones alone
  close(h.now.all.events, 60);
  close(h.now.all.decisions, 50);
  close(h.now.all.missing, 2);
  close(h.now.providers.get('p').missing, 2);
  assert.deepEqual(h.of('client.authenticate rate'), [[2000, 50]]);
});

test('a rate is of the last 10 s, and a chart of the last 5 min', () => {
  const h = new History();
  for (let i = 0; i <= 400; i++) h.add(i * 2000, events({ 0.001: i < 395 ? 0 : (i - 394) * 20, '+Inf': i < 395 ? 0 : (i - 394) * 20 }), new Set());
  close(h.now.hooks.get('client.authenticate').rate, 10);
  assert.equal(h.polls.length, 6);
  assert.equal(h.of('client.authenticate rate').length, 151);
});

test('a hookmux that was started anew gives no negative rates', () => {
  const h = new History();
  h.add(0, events({ 0.001: 500, '+Inf': 500 }), new Set());
  h.add(2000, events({ 0.001: 510, '+Inf': 510 }), new Set());
  h.add(4000, events({ 0.001: 3, '+Inf': 3 }), new Set());
  assert.equal(h.now, null);
  h.add(6000, events({ 0.001: 5, '+Inf': 5 }), new Set());
  close(h.now.all.events, 1);
});

test('after a pause the rate is not the average of the pause', () => {
  const h = new History();
  h.add(0, events({ 0.001: 0, '+Inf': 0 }), new Set());
  h.add(600_000, events({ 0.001: 9, '+Inf': 9 }), new Set());
  assert.equal(h.now, null);
});
