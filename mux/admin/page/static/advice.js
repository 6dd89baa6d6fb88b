// What has become of those who did not answer, and what one can do about a decision. The
// command line says the same: cmd/hookmux/because.go.
import { span } from './format.js';
import { now } from './api.js';
import { lastWords, decider, refused } from './words.js';

const find = (status, name) => status.providers.find((p) => p.name === name);

// stateNow says how a provider is that did not answer then: {text, printed}, or null if there is
// nothing to say.
export function stateNow(a, d, status) {
  const p = find(status, a.provider);
  if (!p) return { text: 'It is no longer in the config.' };
  const { what, printed } = lastWords(p.last_error);
  if (!p.enabled) return { text: p.draining ? 'An operator has it drained.' : 'An operator has disabled it.' };
  const remote = p.kind === 'remote';
  if (p.status !== 'up') return { text: `It is still ${remote ? 'not reached' : 'down'}: ${what || p.status}`, printed };
  if (a.reason !== 'down' || !what) return null;
  if (Date.parse(p.since) > Date.parse(d.time)) return { text: `It is up again, for ${span((now() - Date.parse(p.since)) / 1000)}. Before: ${what}`, printed };
  return { text: `It is up. Why it last went down: ${what}`, printed };
}

// goOn is what one can do, as [text, command?] pieces; null if there is nothing to be done.
export function goOn(d, status) {
  const by = decider(d);
  const part = d.asked.findLast((a) => a.provider === by && a.reason);
  const p = part && find(status, by);
  if (!part) return afterAnswer(d, by);
  if (!p) return null;
  switch (part.reason) {
    case 'down': return down(p);
    case 'timeout': return [['See in hookmux\u2019s log ('], [`provider=${by}`, true], [`) what it waits for. One answer may take ${p.timeout_ms / 1000} s: the key timeout of the provider, and that of the config for all together.`]];
    case 'breaker_open': return [['It failed several times in a row, and is left alone for a moment. Why it failed is in the decisions before this one.']];
    case 'overload': return [[`${by} is asked more than it answers: make it quicker, or raise its key concurrency.`]];
    case 'error': return [['Its own lines in hookmux\u2019s log ('], [`provider=${by}`, true], [') may say more.']];
    case 'invalid': return [[`This is a mistake in ${by}: `], ['hookmux verify -- COMMAND', true], [' checks what a plugin must do.']];
    case 'canceled': return [['EMQX did not wait for the answer: its request_timeout is to be more than hookmux\u2019s timeout.']];
    case 'too_large': return [['The request is larger than limits.message in the config.']];
  }
  return null;
}

function down(p) {
  if (!p.enabled) return [[`Enable ${p.name} when it may decide again.`]];
  if (p.status === 'up') return [['Nothing, if it stays up; the client may try again.']];
  if (p.kind === 'remote') return [[`Start the server that ${p.name} stands for; hookmux tries again and again to reach it.`]];
  return [[`Mend what ${p.name} ended for. It is started again by itself, or at once with Restart on its page.`]];
}

function afterAnswer(d, by) {
  if (d.answer === 'ignore' && d.hook === 'client.authenticate') {
    return [['EMQX 5.8 and older refuse such a login if they have no authenticator of their own, 5.10 lets it in. Say in the config what you want: '], ['default: {client.authenticate: deny}', true], [', or allow.']];
  }
  if (!refused(d)) return null;
  if (by === 'default' || by === '') return [['A provider must have an opinion, or default in the config must be another; the page Hooks shows who is asked.']];
  if (by === 'hookmux') return [['hookmux\u2019s log says more.']];
  const more = d.hook === 'message.publish' && d.answer === 'drop' ? ' The client was told that its message was published.' : '';
  return [[`That is what ${by} is there for: its config, and its lines in hookmux\u2019s log (`], [`provider=${by}`, true], [`), say more.${more}`]];
}
