// Decisions in sentences, without a browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { short, span, took, visible } from '../static/format.js';
import { answer, because, consequence, lastWords, part, policyText, subject } from '../static/words.js';

const decision = (more) => ({ hook: 'client.authenticate', client: 'c', username: 'u', topic: '', action: '', answer: 'deny', by: 'p', asked: [{ provider: 'p', verdict: 'deny' }], ...more });
const said = (d) => [...subject(d), [' '], [answer(d).text], ['. '], ...because(d)].map(([t]) => t).join('');

test('who refused a client, and why', () => {
  for (const [d, want] of [
    [{}, 'The login of client c (user u) was refused. p refused it.'],
    [{ by: 'p, which did not answer', asked: [{ provider: 'p', verdict: 'none', reason: 'timeout', policy: 'deny' }] },
      'The login of client c (user u) was refused. p gave no answer (timeout), and its failure policy for that is deny.'],
    [{ by: 'default', asked: [{ provider: 'p', verdict: 'ignore' }] }, 'The login of client c (user u) was refused. Nobody had an opinion, and the default for client.authenticate in the config says deny.'],
    [{ by: 'hookmux', asked: [] }, 'The login of client c (user u) was refused. hookmux refused it itself, because it could ask nobody: the request was not valid or too large, or no provider had had a chance to start.'],
    [{ by: '', answer: 'ignore', asked: [] }, 'The login of client c (user u) was left to the broker. Nobody was to be asked, so the broker decides.'],
    [{ hook: 'client.authorize', action: 'subscribe', topic: 't/#', username: '' }, 'Subscribing to t/# by client c was refused. p refused it.'],
    [{ hook: 'message.publish', topic: 't', answer: 'drop', asked: [{ provider: 'p', verdict: 'drop' }] }, 'The message to t from client c (user u) was not published. p had it dropped.'],
    [{ strategy: 'all' }, 'The login of client c (user u) was refused. p refused it. With strategy all, one who refuses is enough.'],
    [{ client: '', username: '' }, 'The login of a client without an id was refused. p refused it.'],
  ]) assert.equal(said(decision(d)), want);
});

test('what one provider did', () => {
  for (const [a, want] of [
    [{ verdict: 'allow', final: true }, 'allowed it, and that was final.'],
    [{ verdict: 'rewrite', changed: ['topic', 'payload'] }, 'changed the topic and payload of the message.'],
    [{ verdict: 'none', unneeded: true }, 'was not waited for: it was decided before.'],
    [{ verdict: 'none', reason: 'down', policy: 'ignore' }, 'gave no answer: it was down: starting, crashed or out of service. Its failure policy left it out.'],
    [{ verdict: 'none', reason: 'something new', policy: 'deny' }, 'gave no answer: something new. Its failure policy refused in its place.'],
  ]) assert.equal(part(a).text, want);
});

test('a failure policy in few words', () => {
  assert.equal(policyText({ error: 'deny', timeout: 'deny', down: 'deny' }), 'deny');
  assert.equal(policyText({ error: 'ignore', timeout: 'deny', breaker_open: 'ignore' }), 'ignore; timeout: deny');
});

test('an error and what was printed before it', () => {
  assert.deepEqual(lastWords('start: it ended; its last output:\n  | one\n  | \ttwo\u001b[31m'), { what: 'it ended', printed: ['one', '\ttwo\\u001b[31m'], unstarted: true });
  assert.deepEqual(lastWords(undefined), { what: '', printed: [], unstarted: false });
});

test('what the absence of a provider means', () => {
  const hooks = [
    { hook: 'client.authenticate', valued: true, providers: [{ name: 'p', policy: { down: 'deny' } }] },
    { hook: 'message.publish', valued: true, providers: [{ name: 'p', policy: { down: 'ignore' } }] },
    { hook: 'client.connected', valued: false, providers: [{ name: 'p' }] },
  ];
  assert.deepEqual(consequence('p', hooks, 3).lines, [
    'client.authenticate: refused without it, by its failure policy (deny).',
    'message.publish: decided as if it were not there (ignore).',
    'Notifications wait in its lane (3 wait now).',
  ]);
  assert.deepEqual(consequence('q', hooks, 0).lines, []);
});

test('times, and texts that hide something', () => {
  assert.equal(span(59), '59 s');
  assert.equal(span(3600 * 25), '1 d 1 h');
  assert.equal(span(61), '1 min');
  assert.equal(took(0.00031), '0.31 ms');
  assert.equal(took(1.25), '1.3 s');
  assert.equal(visible('a\u202eb\u0000'), 'a\\u202eb\\u0000');
  assert.equal(short('😀'.repeat(100), 10), '😀'.repeat(9) + '…');
});
