// The hooks: rates, times and who is asked.
import { byId, h, render } from './dom.js';
import { rate, short, took, visible, some } from './format.js';
import { chart } from './chart.js';
import { dot, providerLink } from './overview.js';
import { stateOf } from './problems.js';
import { policyText, strategyText } from './words.js';

export function hooks({ status, history, time }) {
  if (!status.hooks.length) {
    render(byId('hooks'), h('p', { class: 'note' }, 'No provider wants any hook.'));
    return;
  }
  const states = new Map(status.providers.map((p) => [p.name, stateOf(p)]));
  // Those with an answer first: they are what a client waits for.
  const all = [...status.hooks].sort((a, b) => b.valued - a.valued);
  render(byId('hooks'), history.error && h('p', { class: 'note' }, history.error), all.map((hook) => card(hook, history, time, states)));
}

function card(hook, history, time, states) {
  const r = history.now?.hooks.get(hook.hook);
  const line = (name, tone) => ({ name, points: history.of(`${hook.hook} ${name}`), tone });
  return h('article', { class: 'panel hook', 'data-key': hook.hook },
    h('header', null, h('h2', null, hook.hook), h('span', { class: 'muted' }, hook.valued ? 'decision' : 'notification')),
    h('div', { class: 'measure' },
      h('p', { class: 'value' }, r ? `${rate(r.rate)}/s` : '–', r?.refused > 0 && h('a', { class: 'small bad-text', href: `#trail?answer=refused&hook=${hook.hook}` }, ` ${rate(r.refused)}/s refused`)),
      chart({ lines: [line('rate', 'a')], time, show: rate, label: `${hook.hook} per second` })),
    h('div', { class: 'measure' },
      h('p', { class: 'value' }, r && r.rate > 0 ? [took(r.p50), h('small', null, ' p50'), ' · ', took(r.p99), h('small', null, ' p99')] : '–'),
      chart({ lines: [line('p99', 'b'), line('p50', 'a')], time, show: took, label: `Time for ${hook.hook}` })),
    h('div', { class: 'chain' }, chain(hook, states)));
}

function chain(hook, states) {
  const asked = hook.valued ? hook.providers.filter((p) => !p.observe) : [];
  const told = hook.valued ? hook.providers.filter((p) => p.observe) : hook.providers;
  return [
    asked.length > 1 && h('p', { class: 'muted' }, `Strategy ${visible(hook.strategy)}: ${strategyText(hook.strategy)}.`),
    asked.length > 0 && h(hook.strategy === 'chain' ? 'ol' : 'ul', { class: 'steps' }, asked.map((p) => h('li', { 'data-key': p.name }, who(p, states), h('span', { class: 'muted' }, ` ${terms(p)}`)))),
    hook.valued && h('p', { class: 'muted' }, hook.default ? `No opinion at all: ${hook.default}.` : 'No opinion at all: the broker decides.'),
    told.length > 0 && h('p', null, hook.valued ? 'Told afterwards: ' : 'Told: ', told.map((p, i) => [i > 0 && ', ', who(p, states), h('span', { class: 'muted' }, ` ${[p.delivery, topics(p)].filter(Boolean).join(', ')}`)])),
  ];
}

const who = (p, states) => [dot(states.get(p.name)?.tone ?? 'quiet'), ' ', h('a', { href: providerLink(p.name) }, short(p.name, 60)), states.get(p.name)?.tone === 'bad' && h('span', { class: 'bad-text' }, ` ${states.get(p.name).word}`)];

const topics = (p) => {
  if (!p.topics?.length) return '';
  return p.topics.length > 3 ? some(p.topics.length, 'topic filter') : p.topics.map((t) => short(t, 60)).join(', ');
};

function terms(p) {
  return [`within ${took(p.timeout_ms / 1000)}`, `no answer: ${policyText(p.policy)}`, p.pure && 'asked early (pure)', topics(p)].filter(Boolean).join(' · ');
}
