// One provider with all that is known of it.
import { byId, h, render, setText } from './dom.js';
import { count, day, rate, size, some, took, visible } from './format.js';
import { actions, dot, problem, printedLines } from './overview.js';
import { stateOf, storedFor } from './problems.js';
import { lastWords, policyText, reasonText } from './words.js';

export function provider({ status, problems, history }, name) {
  setText(byId('provider-title'), visible(name));
  const p = status.providers.find((q) => q.name === name);
  if (!p) {
    render(byId('provider'), h('p', { class: 'note' }, 'There is no provider of that name, or not any more.'));
    return;
  }
  const mine = problems.filter((q) => q.provider === name);
  const stored = storedFor(status, name);
  const times = history.now?.providers.get(name);
  render(byId('provider'),
    h('div', { class: 'row' }, stateLine(p), actions(p)),
    mine.length > 0 && h('ul', { class: 'problems', 'aria-label': 'What is wrong' }, mine.map((q) => problem(q, 0, mine, false))),
    !mine.some((q) => q.key.endsWith(' state') && q.tone === 'bad') && last(p, mine),
    h('p', { class: 'links' }, h('a', { href: '#trail?provider=' + encodeURIComponent(name) }, 'Decisions it took part in'), ' · ',
      h('a', { href: '#trail?answer=unanswered&provider=' + encodeURIComponent(name) }, 'those that lacked an answer'), ' · ',
      h('a', { href: '#tail?provider=' + encodeURIComponent(name) }, 'follow it live')),
    h('h2', null, 'Now'),
    facts([
      ['Kind', p.kind], ['Process', p.pid ? String(p.pid) : undefined], ['In this state since', day(new Date(p.since))],
      ['Restarts', count(p.restarts)], ['Timeout', took(p.timeout_ms / 1000)],
      ['In its lane', p.waiting_events ? `${count(p.waiting_events)} notifications, ${size(p.waiting_bytes)}` : 'nothing'],
      ['Stored for it', stored && (stored.events ? `${some(stored.events, 'event')}, ${size(stored.bytes)}, the oldest since ${day(new Date(stored.oldest))}` : 'nothing')],
      ['Dead letters', stored?.dead ? count(stored.dead) : undefined],
      ['Asked', times && `${rate(times.rate)}/s${times.rate > 0 ? `, ${took(times.p50)} p50, ${took(times.p99)} p99` : ''}`],
      ['Notified', times && `${rate(times.told)}/s`],
      ['Breakers', Object.entries(p.breakers ?? {}).map(([what, state]) => `${what}: ${state}`).join(', ') || (p.pid || p.kind === 'remote' ? '–' : 'none while it is down')],
    ]),
    h('h2', null, 'Since it was added'),
    facts([
      ['Notifications', `${count(p.sent)} for it, ${count(p.delivered)} handled`],
      ...Object.entries(p.dropped ?? {}).map(([reason, n]) => [reason === 'dead_letter' ? 'Became dead letters' : `Lost: ${reason.replaceAll('_', ' ')}`, count(n), reasonText(reason)]),
      ...Object.entries(p.decided ?? {}).map(([hook, n]) => [`Answers to ${hook}`, count(n)]),
      ...Object.entries(p.missing ?? {}).map(([reason, n]) => [`No answer: ${reason.replaceAll('_', ' ')}`, count(n), reasonText(reason)]),
      ['Answers that came too late', p.late ? count(p.late) : undefined],
    ]),
    h('h2', null, 'Hooks'), hooks(p, status.hooks));
}

function stateLine(p) {
  const s = stateOf(p);
  return h('p', { class: `state ${s.tone}` }, dot(s.tone), ` ${s.word} `, s.since && h('span', { class: 'muted' }, `for ${s.since}`));
}

// last is the last error of a provider that is well again.
function last(p, mine) {
  if (!p.last_error || mine.some((q) => q.key.endsWith(' state') && q.printed)) return null;
  const { what, printed } = lastWords(p.last_error);
  return [h('h2', null, 'Why it last went down'), h('p', { class: 'wrap' }, what), printed.length > 0 && printedLines(printed)];
}

const facts = (rows) => h('dl', { class: 'facts' }, rows.filter(([, v]) => v !== undefined && v !== null && v !== false).map(([name, value, why]) => h('div', { 'data-key': name }, h('dt', null, name), h('dd', null, value, why && h('span', { class: 'muted' }, ` ${why}`)))));

function hooks(p, all) {
  if (!p.hooks.length) return h('p', { class: 'note' }, p.hooks_known ? 'It wants none.' : 'It has never started, so it has not said what it wants. Until then, its failure policy decides every hook that it might; list its hooks in the config to narrow that.');
  return [
    !p.hooks_known && h('p', { class: 'note' }, 'This is an assumption: it has never started, so it has not said what it wants.'),
    h('table', { class: 'cards' },
      h('thead', null, h('tr', null, ['Hook', 'Part', 'Without its answer', 'Topics'].map((t) => h('th', { scope: 'col' }, t)))),
      h('tbody', null, p.hooks.map((name) => {
        const hook = all.find((q) => q.hook === name);
        const mine = hook?.providers.find((q) => q.name === p.name);
        const turn = hook?.providers.filter((q) => !q.observe).findIndex((q) => q.name === p.name);
        const asked = hook?.valued && !mine?.observe;
        return h('tr', { 'data-key': name },
          h('th', { scope: 'row' }, name),
          cell('Part', !mine ? '–' : asked ? (hook.strategy === 'chain' ? `asked, number ${turn + 1}` : `asked, strategy ${hook.strategy}`) : mine.observe ? `told of the decision${mine.delivery === 'durable' ? ', durable' : ''}` : `told, ${mine.delivery}`),
          cell('Without its answer', asked ? policyText(mine?.policy) || '–' : '–'),
          cell('Topics', mine?.topics?.length ? mine.topics.map(visible).join(', ') : 'all'));
      }))),
  ];
}

const cell = (label, ...inner) => h('td', { 'data-label': label }, h('span', null, ...inner));
