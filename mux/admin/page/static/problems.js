// What is wrong, in order of how much it matters.
import { now } from './api.js';
import { count, list, rate, span, some } from './format.js';
import { lastWords } from './words.js';

const RECENT = 300; // seconds: how long a plugin that is up again is spoken of

export const upFor = (p) => (now() - Date.parse(p.since)) / 1000;

// stateOf is a provider's state in words, its tone, and since when; of a plugin that is started
// again and again nobody wants to know since when.
export function stateOf(p) {
  const since = p.kind === 'plugin' && ['starting', 'restarting', 'quarantined'].includes(p.status) ? '' : span(upFor(p));
  switch (p.status) {
    case 'up': return p.restarts > 0 && upFor(p) < RECENT ? { word: 'up again', tone: 'warn', since } : { word: 'up', tone: 'good', since };
    case 'starting': return p.last_error ? { word: 'tried again', tone: 'bad', since } : { word: 'starting', tone: 'warn', since };
    case 'restarting': return { word: fault(p, 'crashed'), tone: 'bad', since };
    case 'quarantined': return { word: fault(p, 'keeps crashing'), tone: 'bad', since };
    case 'disabled': return { word: 'disabled', tone: 'warn', since };
    case 'draining': return { word: 'draining', tone: 'warn', since };
  }
  return { word: p.status, tone: 'bad', since };
}

const fault = (p, word) => (p.kind === 'remote' ? 'not reached' : lastWords(p.last_error).unstarted ? 'does not start' : word);

// breakersOf are a provider's breakers that are not closed.
export const breakersOf = (p) => Object.entries(p.breakers ?? {}).filter(([, state]) => state !== 'closed');

// problems are {key, tone, title, text, printed, provider}; the worst first.
export function problems(status, times) {
  const found = [...status.providers.flatMap((p) => [...ofProvider(p, times?.providers.get(p.name)), ...ofStored(p, storedFor(status, p.name))]), ...status.brokers.flatMap(ofBroker)];
  for (const s of status.stored ?? []) {
    if (s.orphaned) found.push({ key: `orphaned ${s.provider}`, tone: 'warn', title: `${some(s.events, 'event')} and ${some(s.dead, 'dead letter')} are stored for ${s.provider}, which no provider of the config is told durably`, text: 'They are delivered if it comes back; hookmux spool drop --orphan removes them.' });
  }
  if (status.stored_error) found.push({ key: 'stored', tone: 'bad', title: 'What is stored for durable delivery is not known', text: status.stored_error });
  if (!status.brokers.length) {
    found.push({ key: 'no broker', tone: 'warn', title: 'No broker has loaded hookmux', text: `Nothing is asked until one does: its ExHook server is http://${status.listen}, or whatever leads there.` });
  }
  const order = ['bad', 'warn'];
  return found.sort((a, b) => order.indexOf(a.tone) - order.indexOf(b.tone));
}

function ofProvider(p, times) {
  const found = [];
  const say = (key, tone, title, text, more) => found.push({ key: `${p.name} ${key}`, tone, title, text, provider: p.name, ...more });
  const { word, since } = stateOf(p);
  const remote = p.kind === 'remote';
  const { what, printed, unstarted } = lastWords(p.last_error);
  const unanswered = p.missing && Object.keys(p.missing).length > 0 ? { link: ['Decisions that lacked its answer', '#trail?answer=unanswered&provider=' + encodeURIComponent(p.name)] } : {};
  const error = { text: what, printed, ...unanswered };
  const again = p.restarts > 0 ? `, ${some(p.restarts, 'restart')} so far` : '';
  switch (p.status) {
    case 'restarting':
    case 'quarantined':
      if (remote) say('state', 'bad', `${p.name} cannot be reached (for ${since})`, '', error);
      else if (p.status === 'quarantined') say('state', 'bad', `${p.name} ${unstarted ? 'does not start' : 'keeps crashing'}${again}; hookmux tries it once a minute`, '', error);
      else say('state', 'bad', `${p.name} ${unstarted ? 'does not start, and is tried again' : 'has crashed, and is started again'} in a moment${again}`, '', error);
      break;
    case 'starting':
      if (p.last_error) say('state', 'bad', remote ? `${p.name} cannot be reached` : `${p.name} ${unstarted ? 'did not start, and is tried again' : 'has crashed, and is started again'} now${again}`, '', error);
      break;
    case 'up':
      if (word === 'up again') say('state', 'warn', remote ? `${p.name} was not reached, and is again since ${since}` : `${p.name} ${unstarted ? 'did not start at first' : 'crashed'}, and is up again since ${since}${again}`, '', error);
      break;
    case 'disabled':
      say('state', 'warn', `An operator has disabled ${p.name} (${since} ago)`, `Its failure policy decides for it${waiting(p)}.`);
      break;
    case 'draining':
      say('state', 'warn', `${p.name} is being drained`, `It gets nothing new${waiting(p)}; when its lane is empty it is disabled.`);
      break;
    default:
      say('state', 'bad', `${p.name} is ${p.status}`, '', error);
  }
  const open = breakersOf(p);
  if (open.length) {
    say('breaker', open.some(([, s]) => s === 'open') ? 'bad' : 'warn', `${p.name} is not asked: its breaker is ${list([...new Set(open.map(([, s]) => s))])}`,
      `It failed too often at ${list(open.map(([what]) => what))}. hookmux tries again by itself${what ? `; the last error: ${what}` : ''}.`, unanswered);
  }
  if (times?.missing > 0 && p.status === 'up') say('missing', 'bad', `${p.name} leaves ${rate(times.missing)} decisions per second without an answer`, reasonsOf(p.missing), unanswered);
  if (times?.lost > 0) say('lost', 'bad', `${p.name} loses ${rate(times.lost)} notifications per second`, reasonsOf(p.dropped));
  if (p.problems?.length) say('problems', 'warn', `${p.name} runs with less protection than its config asks for`, p.problems.join('; '));
  return found;
}

// storedFor is what waits to be delivered durably to a provider; undefined: nothing ever does.
export const storedFor = (status, name) => status.stored?.find((s) => s.provider === name);

const LONG_STORED = 60; // seconds: for how long an event may be stored until somebody should know

const FAILED_LATELY = 120; // seconds: what failed is tried again within that time

function ofStored(p, s) {
  const found = [];
  const say = (key, title, text) => found.push({ key: `${s.provider} ${key}`, tone: 'warn', title, text, provider: s.provider });
  const age = s?.oldest ? (now() - Date.parse(s.oldest)) / 1000 : 0;
  if (s?.events > 0 && p.last_failure && (now() - Date.parse(p.last_failure.time)) / 1000 < FAILED_LATELY) {
    say('behind', `${s.provider} does not handle what is stored for it: ${some(s.events, 'event')}, the oldest for ${span(age)}`, `It is tried again; the last error: ${p.last_failure.error}`);
  } else if (age > LONG_STORED) say('behind', `${s.provider} is behind: ${some(s.events, 'event')} stored for it, the oldest for ${span(age)}`, 'They are kept, and delivered when it handles them.');
  if (s?.dead > 0) say('dead', `${s.provider} has ${some(s.dead, 'dead letter')}`, `Events that it did not handle in all their tries: hookmux spool list ${s.provider} shows why, hookmux spool retry --all ${s.provider} has them delivered again.`);
  return found;
}

const waiting = (p) => (p.waiting_events ? `; ${some(p.waiting_events, 'notification')} ${p.waiting_events === 1 ? 'waits' : 'wait'} in its lane` : '');

// lostOf is what was dropped and is gone; a dead letter is kept.
export const lostOf = (p) => Object.entries(p.dropped ?? {}).reduce((sum, [reason, n]) => (reason === 'dead_letter' ? sum : sum + n), 0);

export const reasonsOf = (counts) => {
  const parts = Object.entries(counts ?? {}).sort((a, b) => b[1] - a[1]).map(([reason, n]) => `${reason.replaceAll('_', ' ')} ${count(n)}`);
  return parts.length ? `Since the start: ${parts.join(', ')}.` : '';
};

function ofBroker(b) {
  if (!b.missing?.length) return [];
  return [{
    key: `broker ${b.node}`, tone: 'warn', title: `${b.node} does not send ${list(b.missing)}`,
    text: 'It learns what is wanted when it loads hookmux anew: disable and enable the ExHook server in its dashboard, or use hookmux emqx register.',
  }];
}
