// The overview: what is wrong, how much happens, providers and brokers.
import { byId, h, render } from './dom.js';
import { count, list, rate, short, size, span, took, visible, some } from './format.js';
import { chart } from './chart.js';
import { breakersOf, lostOf, stateOf, storedFor } from './problems.js';

export function overview({ status, problems, history, time }) {
  render(byId('attention'), attention(status, problems));
  render(byId('tiles'), tiles(history, time));
  render(byId('providers'), providers(status, history.now));
  render(byId('brokers'), brokers(status));
}

function attention(status, problems) {
  if (!problems.length) {
    const n = status.providers.length;
    return h('p', { class: 'note good' }, dot('good'), ` All is well: ${n ? `${some(n, 'provider')} ${n === 1 ? 'is' : 'are'} up` : 'there are no providers'}, ${some(status.brokers.length, 'broker has', 'brokers have')} loaded hookmux.`);
  }
  return h('ul', { class: 'problems', 'aria-label': 'What is wrong' }, problems.map(problem));
}

export function problem(p, i, all, linked = true) {
  const name = p.provider && linked && p.title.startsWith(p.provider);
  return h('li', { class: `problem ${p.tone}`, 'data-key': p.key },
    h('h2', null, h('span', { class: 'visually-hidden' }, p.tone === 'bad' ? 'Failure: ' : 'Warning: '),
      name ? [h('a', { href: providerLink(p.provider) }, p.provider), p.title.slice(p.provider.length)] : visible(p.title)),
    p.text && h('p', null, p.text),
    p.printed?.length > 0 && printedLines(p.printed),
    p.link && linked && h('p', null, h('a', { href: p.link[1] }, p.link[0])));
}

export const printedLines = (lines) => h('figure', { class: 'printed' }, h('figcaption', null, 'The last it printed:'), h('pre', { tabindex: 0 }, lines.join('\n')));

export const dot = (tone) => h('span', { class: `dot ${tone}`, 'aria-hidden': 'true' });
export const providerLink = (name) => '#provider?name=' + encodeURIComponent(name);

function tiles(history, time) {
  if (history.error) return h('p', { class: 'note' }, history.error);
  const all = history.now?.all;
  const line = (name, tone, label = name) => ({ name: label, points: history.of(`all ${name}`), tone });
  const wait = 'measuring…';
  return [
    tile('Events', all ? `${rate(all.events)}/s` : wait, chart({ lines: [line('events', 'a')], time, show: rate, label: 'Events per second' })),
    tile('Time to decide', all ? [took(all.p50), h('small', null, ' p50'), ' · ', took(all.p99), h('small', null, ' p99')] : wait,
      chart({ lines: [line('p99', 'b'), line('p50', 'a')], time, show: took, label: 'Time to decide' })),
    tile('Refused', all ? `${rate(all.refused)}/s` : wait, chart({ lines: [line('refused', 'w')], time, show: rate, label: 'Refused per second' }), all?.refused > 0 && h('a', { href: '#trail?answer=refused' }, 'which?')),
    tile('Unanswered or lost', all ? `${rate(all.missing)}/s` : wait, chart({ lines: [line('missing', 'x')], time, show: rate, label: 'Unanswered or lost per second' }),
      all?.missing > 0 && h('a', { href: '#trail?answer=unanswered' }, 'which?')),
  ];
}

function tile(name, value, picture, more) {
  return h('div', { class: 'panel tile', 'data-key': name }, h('h3', null, name, more && [' ', more]), h('p', { class: 'value' }, value), picture);
}

function providers(status, times) {
  if (!status.providers.length) return h('p', { class: 'note' }, 'There are none: the config has no providers, so hookmux has no opinion about anything.');
  const head = ['Provider', 'State', 'Restarts', 'Breaker', 'Lane', 'Asked', 'p50 / p99', 'Notified', ''];
  return h('table', { class: 'cards providers' },
    h('thead', null, h('tr', null, head.map((t, i) => h('th', { scope: 'col', class: i === 2 || i >= 4 && i <= 7 ? 'num' : undefined }, t || h('span', { class: 'visually-hidden' }, 'Actions'))))),
    h('tbody', null, status.providers.map((p) => providerRow(p, times?.providers.get(p.name), storedFor(status, p.name)))));
}

function providerRow(p, times, stored) {
  const state = stateOf(p);
  const open = breakersOf(p);
  const cell = (label, cls, ...inner) => h('td', { 'data-label': label, class: cls }, h('span', null, ...inner));
  const dropped = lostOf(p);
  return h('tr', { 'data-key': p.name, class: state.tone },
    h('th', { scope: 'row' }, h('a', { href: providerLink(p.name), title: p.name.length > 40 ? p.name : undefined }, short(p.name, 60)), p.kind === 'remote' && h('span', { class: 'tag' }, 'remote')),
    cell('State', `state ${state.tone}`, dot(state.tone), ` ${state.word} `, h('span', { class: 'muted' }, state.since)),
    cell('Restarts', p.restarts > 0 ? 'num strong' : 'num dull', String(p.restarts)),
    cell('Breaker', open.length ? 'bad-text' : 'muted dull', breakerText(p, open)),
    cell('Lane', p.waiting_events || stored?.events || dropped ? 'num' : 'num dull', lane(p, stored), dropped > 0 && h('span', { class: 'bad-text' }, ` ${count(dropped)} lost`)),
    cell('Asked', 'num', times ? `${rate(times.rate)}/s` : '–', times?.missing > 0 && h('span', { class: 'bad-text' }, ` ${rate(times.missing)}/s no answer`)),
    cell('p50 / p99', 'num', times && times.rate > 0 ? `${took(times.p50)} / ${took(times.p99)}` : '–'),
    cell('Notified', 'num', times ? `${rate(times.told)}/s` : '–'),
    h('td', { class: 'actions' }, actions(p)));
}

export function actions(p) {
  const b = (verb, text) => h('button', { type: 'button', 'data-key': verb, 'data-act': 'verb', 'data-verb': verb, 'data-provider': p.name, 'aria-label': `${text} ${p.name}` }, text);
  if (!p.enabled) return h('div', { class: 'buttons' }, b('enable', 'Enable'), p.draining && b('disable', 'Disable'));
  return h('div', { class: 'buttons' }, p.kind === 'plugin' && b('restart', 'Restart'), b('drain', 'Drain'), b('disable', 'Disable'));
}

function breakerText(p, open) {
  if (open.length) return open.map(([what, state]) => `${state}: ${what}`).join(', ');
  return Object.keys(p.breakers ?? {}).length ? 'closed' : '–';
}

export const lane = (p, stored) => [
  p.waiting_events && `${count(p.waiting_events)} · ${size(p.waiting_bytes)}`, stored?.events && `${count(stored.events)} stored · ${size(stored.bytes)}`,
].filter(Boolean).join(', ') || 'empty';

function brokers(status) {
  if (!status.brokers.length) return h('p', { class: 'note' }, 'None has loaded hookmux since it started. EMQX does when its ExHook server is enabled; it tries again every auto_reconnect.');
  return h('table', { class: 'cards brokers' },
    h('thead', null, h('tr', null, ['Node', 'EMQX', 'Protocol', 'Told to send', 'Does not send'].map((t) => h('th', { scope: 'col' }, t)))),
    h('tbody', null, status.brokers.map((b) => h('tr', { 'data-key': b.node, class: b.missing?.length ? 'warn' : '' },
      h('th', { scope: 'row' }, short(b.node, 100)),
      h('td', { 'data-label': 'EMQX' }, h('span', null, short(b.version, 40))),
      h('td', { 'data-label': 'Protocol' }, h('span', null, protocol(b.service))),
      h('td', { 'data-label': 'Told to send' }, h('span', null, h('details', { class: 'inline' }, h('summary', null, some(b.hooks.length, 'hook')), list(b.hooks)))),
      h('td', { 'data-label': 'Does not send', class: b.missing?.length ? 'bad-text' : 'muted' }, h('span', null, b.missing?.length ? list(b.missing) : 'nothing is missing'))))));
}

const protocol = (service) => /\.(v\d+)\./.exec(service)?.[1] ?? visible(service);

// facts of the header.
export const aboutText = (status, time) => `${visible(status.version)} · up ${span((time - Date.parse(status.started)) / 1000)}`;
