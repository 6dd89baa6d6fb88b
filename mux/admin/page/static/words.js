// Decisions and states in plain sentences.
import { list, visible, visibleLines, took, some } from './format.js';

// Why there is no answer, or why an event did not arrive: the words of mux.Reason.
const reasons = {
  error: 'it answered with an error',
  timeout: 'it did not answer in time',
  breaker_open: 'it had failed too often just before, so its breaker was open and it was not asked',
  overload: 'it had as many questions under way as it may have',
  down: 'it was down: starting, crashed or out of service',
  invalid: 'its answer made no sense',
  canceled: 'the broker gave up on its call',
  lane_full: 'its lane was full',
  shutdown: 'hookmux stopped',
  too_large: 'the event was larger than events may be',
  store_failed: 'it was to be delivered durably, and could not be stored',
  store_full: 'it was to be delivered durably, and there was no room to store it',
  expired: 'it was stored, and was too old before it was handled',
  dead_letter: 'it was stored and not handled in all tries; it is kept among the dead letters',
};

export const reasonText = (word) => reasons[word] ?? visible(word);

export const refused = (d) => d.answer === 'deny' || d.answer === 'drop';
export const unanswered = (d) => d.asked.some((a) => a.reason);

const answers = {
  allow: ['was allowed', 'good'], deny: ['was refused', 'bad'], drop: ['was not published', 'bad'],
  pass: ['passed as it was', 'good'], rewrite: ['was changed', 'warn'], ignore: ['was left to the broker', 'quiet'],
};

// answer is the merged answer as the end of a sentence, and its tone.
export function answer(d) {
  const [text, tone] = answers[d.answer] ?? [visible(d.answer), 'quiet'];
  return { text, tone };
}

// short words, for tables.
export const answerWord = (d) => ({ allow: 'allowed', deny: 'refused', drop: 'dropped', pass: 'passed', rewrite: 'changed', ignore: 'no opinion' })[d.answer] ?? visible(d.answer);

// subject is what was decided about, as [text, foreign?] pieces.
export function subject(d) {
  const client = d.client ? [['client '], [d.client, true]] : [['a client without an id']];
  const user = d.username ? [[' (user '], [d.username, true], [')']] : [];
  switch (d.hook) {
    case 'client.authenticate': return [['The login of '], ...client, ...user];
    case 'client.authorize':
      return [[{ publish: 'Publishing to ', subscribe: 'Subscribing to ' }[d.action] ?? 'Access to '], [d.topic, true], [' by '], ...client, ...user];
  }
  const from = d.client ? client : [['nobody']];
  return [['The message to '], [d.topic, true], [' from '], ...from, ...user];
}

// decider is the provider that had the last word, or default, hookmux or nobody.
export const decider = (d) => d.by.replace(/, which did not answer$/, '');

// because says who had the last word, as [text, foreign?] pieces.
export function because(d) {
  if (d.by === '') return d.asked.length ? [['Nobody had an opinion, so the broker decides.']] : [['Nobody was to be asked, so the broker decides.']];
  if (d.by === 'default') return [[`Nobody had an opinion, and the default for ${d.hook} in the config says ${d.answer}.`]];
  if (d.by === 'hookmux') return [['hookmux refused it itself, because it could ask nobody: the request was not valid or too large, or no provider had had a chance to start.']];
  const by = decider(d);
  const a = d.asked.findLast((p) => p.provider === by);
  if (a?.reason) {
    return [[by, true], [` gave no answer (${a.reason.replaceAll('_', ' ')}), and its failure policy for that is ${a.policy}.`]];
  }
  const vote = d.answer === 'deny' ? { all: ' With strategy all, one who refuses is enough.', any: ' With strategy any, nobody else allowed it.' }[d.strategy] : '';
  return [[by, true], [`${{
    allow: ' allowed it.', deny: ' refused it.', drop: ' had it dropped.', pass: ' let it pass.', rewrite: ' changed it.', ignore: ' had no opinion.',
  }[a?.verdict ?? d.answer] ?? ' had the last word.'}${vote ?? ''}`]];
}

// part is what one provider did, in a sentence that begins with its name, and its tone.
export function part(a) {
  if (a.unneeded) return { text: 'was not waited for: it was decided before.', tone: 'quiet' };
  if (a.reason) {
    const stood = { deny: 'Its failure policy refused in its place.', ignore: 'Its failure policy left it out.', allow: 'Its failure policy allowed in its place.' }[a.policy] ?? '';
    return { text: `gave no answer: ${reasonText(a.reason)}. ${stood}`, tone: 'bad' };
  }
  const end = a.final ? ', and that was final.' : '.';
  const changed = a.changed?.length ? `changed the ${list(a.changed.map(visible))} of the message` : 'changed the message';
  const [text, tone] = {
    allow: ['allowed it', 'good'], deny: ['refused it', 'bad'], ignore: ['had no opinion', 'quiet'],
    pass: ['let the message pass as it was', 'good'], rewrite: [changed, 'warn'], drop: ['had the message dropped', 'bad'],
  }[a.verdict] ?? [visible(a.verdict), 'quiet'];
  return { text: text + end, tone };
}

// strategyText says how the answers are merged, if not in a chain.
export const strategyText = (word) => ({
  chain: 'one after another; the last opinion counts',
  all: 'all at once; everyone must allow',
  any: 'all at once; one who allows is enough',
})[word] ?? '';

// policyText is a failure policy by cause in few words: deny, or "deny; timeout: ignore".
export function policyText(policy) {
  const words = Object.values(policy ?? {});
  if (!words.length) return '';
  const times = (w) => words.filter((o) => o === w).length;
  const most = words.reduce((a, b) => (times(b) > times(a) ? b : a));
  const others = Object.entries(policy).filter(([, w]) => w !== most).map(([cause, w]) => `${cause.replaceAll('_', ' ')}: ${w}`);
  return [most, ...others].join('; ');
}

// lastWords takes an error of a plugin apart: what happened, what it printed before, and
// whether it did not even start.
export function lastWords(error) {
  const [, start, text] = /^(start: )?([^]*)$/.exec(error ?? '');
  const [what, ...rest] = text.split('; its last output:\n');
  const printed = rest.join('\n').split('\n').filter(Boolean).map((l) => visibleLines(l.replace(/^ {2}\| ?/, '')));
  return { what: visible(what), printed, unstarted: Boolean(start) };
}

export const tookUs = (us) => took(us / 1e6);

// consequence says what a provider's absence means for the hooks that it answers.
export function consequence(name, hooks, waiting) {
  const by = new Map();
  let told = false;
  for (const hook of hooks) {
    const p = hook.providers.find((q) => q.name === name);
    if (!p) continue;
    if (!hook.valued || p.observe) told = true;
    const down = p.policy?.down;
    if (down) by.set(down, [...(by.get(down) ?? []), hook.hook]);
  }
  const lines = [];
  for (const [policy, names] of by) {
    lines.push({
      deny: `${list(names)}: refused without it, by its failure policy (deny).`,
      ignore: `${list(names)}: decided as if it were not there (ignore).`,
      allow: `${list(names)}: allowed without it, by its failure policy (allow).`,
    }[policy] ?? `${list(names)}: ${visible(policy)}.`);
  }
  if (told) lines.push(`Notifications wait in its lane${waiting ? ` (${some(waiting, 'waits', 'wait')} now)` : ''}.`);
  return { lines, refuses: by.has('deny') };
}
