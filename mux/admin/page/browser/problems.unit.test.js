// What is wrong, as the overview lists it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fake from './fake.js';
import { problems } from '../static/problems.js';

const titles = (status) => problems(status).map((p) => p.title);

test('what waits too long for a durable delivery is a problem, and so are dead letters', () => {
  const behind = (t) => t.includes('audit is behind');
  const found = titles(fake.busy());
  assert(found.some((t) => /^audit is behind: 41.2 k events stored for it, the oldest for \d+ min$/.test(t)), found.join('\n'));
  assert(found.includes('audit has 3 dead letters'));
  assert(found.some((t) => /^12 events and 0 dead letters are stored for history, which/.test(t)));

  const failing = fake.busy();
  failing.providers.find((p) => p.name === 'audit').last_failure = { time: new Date().toISOString(), error: 'connection refused' };
  const told = problems(failing).find((p) => p.key === 'audit behind');
  assert(told.title.startsWith('audit does not handle what is stored for it: 41.2 k events, the oldest for '), told.title);
  assert.equal(told.text, 'It is tried again; the last error: connection refused');

  const fresh = fake.busy();
  fresh.stored[0].oldest = new Date().toISOString();
  fresh.stored[0].dead = 0;
  assert(!titles(fresh).some((t) => behind(t) || t.includes('dead letter') && t.startsWith('audit')));

  const away = { ...fake.busy(), stored: undefined, stored_error: 'ask the store: nats: timeout' };
  assert(titles(away).includes('What is stored for durable delivery is not known'));
  assert(!titles(fake.well()).some(behind));
});
