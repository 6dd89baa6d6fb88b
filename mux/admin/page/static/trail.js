// The trail: decisions that were made, and why.
import * as api from './api.js';
import { byId, h } from './dom.js';
import { clock, count, day, short, span, visible, visibleLines, some } from './format.js';
import { goOn, stateNow } from './advice.js';
import { dot, printedLines, providerLink } from './overview.js';
import { answer, answerWord, because, decider, part, refused, subject, tookUs, unanswered } from './words.js';

const PAGE = 50;
const MOST = 1000; // decisions that are shown at a time

let query = {};
let status; // of hookmux, when it was searched
let oldest = 0;
let running = new AbortController();

// trail searches, and shows what it finds in place of what is there.
export async function trail(q, failed, now) {
  query = q;
  status = now;
  oldest = 0;
  byId('trail').replaceChildren();
  await more(failed);
}

export async function more(failed) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const note = byId('trail-note');
  const button = byId('trail-more');
  button.hidden = true;
  note.textContent = 'Searching…';
  let found;
  try {
    found = await api.decisions({ ...query, limit: PAGE, before: oldest || '' }, signal);
  } catch (err) {
    if (signal.aborted) return;
    note.textContent = '';
    failed(err, note);
    return;
  }
  const first = oldest === 0;
  const list = byId('trail');
  if (first && found.decisions.length) {
    // What somebody searches a client for is mostly a refusal: it is opened.
    const open = (query.client && found.decisions.find(refused)) || (query.client && found.decisions.find(unanswered)) || found.decisions[0];
    list.append(...found.decisions.map((d) => item(d, d === open)));
  } else list.append(...found.decisions.map((d) => item(d, false)));
  oldest = found.decisions.at(-1)?.id ?? oldest;
  const shown = list.children.length;
  button.hidden = found.decisions.length < PAGE || shown >= MOST;
  note.textContent = shown ? `${some(shown, 'decision')}${button.hidden ? '' : ', and older ones'}, newest first; hookmux remembers ${count(found.kept)} of at most ${count(found.limit)}.` : nothing(found);
}

function nothing(found) {
  const asks = Object.values(query).some(Boolean);
  if (!found.kept) return found.limit ? 'Nothing has been decided since hookmux started.' : 'hookmux remembers no decisions: its config has trail.size: 0.';
  return asks ? `Nothing is remembered that fits, of ${some(found.kept, 'decision')}. The client id must be the whole one. Old decisions are forgotten, refusals last. If a client was refused and there is nothing of it here, EMQX did it without asking hookmux.` : 'Nothing is remembered.';
}

const pieces = (list) => list.map(([text, foreign]) => (foreign ? h('bdi', { class: 'id' }, visible(text) || '(empty)') : text));

function item(d, open) {
  const a = answer(d);
  const at = new Date(d.time);
  const summary = h('summary', null,
    h('time', { datetime: d.time, title: day(at) }, clock(at)),
    h('span', { class: `answer ${a.tone}` }, answerWord(d)),
    h('span', { class: 'what' }, d.hook),
    h('bdi', { class: 'id' }, short(d.client, 60) || '(no client id)'),
    h('bdi', { class: 'id topic' }, short(d.topic, 80)),
    h('span', { class: 'muted by' }, decider(d) && `by ${short(decider(d), 60)}`));
  const el = h('details', { class: 'decision', open }, summary);
  // The sentences are made when somebody wants to read them.
  const tell = () => el.children.length === 1 && el.append(story(d, a, at));
  if (open) tell();
  el.addEventListener('toggle', tell);
  return el;
}

function story(d, a, at) {
  const advice = goOn(d, status);
  return h('div', { class: 'story' },
    h('p', { class: 'headline' }, pieces(subject(d)), ' ', h('strong', { class: a.tone }, a.text), '. ', pieces(because(d))),
    d.asked.length ? h('ol', { class: 'parts' }, d.asked.map((p) => partOf(p, d))) : h('p', { class: 'muted' }, 'No provider was asked.'),
    advice && h('p', null, h('strong', null, 'To go on: '), advice.map(([text, command]) => (command ? h('code', null, visible(text)) : visible(text)))),
    d.new_topic && h('p', null, 'It went on as a message to ', h('bdi', { class: 'id' }, visible(d.new_topic)), '.'),
    d.payload_size > 0 && h('p', null, `Payload (${some(d.payload_size, 'byte')}): `, h('bdi', { class: 'id' }, payloadText(d.payload))),
    h('p', { class: 'muted' }, [
      `${day(at)}, ${span((api.now() - at) / 1000)} ago`, `decided in ${tookUs(d.took_us)}`, d.node && `asked by ${visible(d.node)}`,
      d.asked.length > 1 && `strategy ${d.strategy}`, d.final && 'final for the broker',
    ].filter(Boolean).join(' · '), ' · ', h('a', { href: '#tail' + api.search({ client: d.client }) }, 'follow this client live')));
}

function partOf(a, d) {
  const { text, tone } = part(a);
  const now = a.reason && stateNow(a, d, status);
  return h('li', null, dot(tone), ' ', h('a', { href: providerLink(a.provider) }, visible(a.provider)), ` ${text} `,
    h('span', { class: 'muted' }, a.unneeded ? '' : `${tookUs(a.took_us)}${a.waited_us > 1000 ? `, of which it waited ${tookUs(a.waited_us)} for its turn` : ''}`),
    now && h('p', { class: 'wrap' }, visible(now.text)), now?.printed?.length > 0 && printedLines(now.printed),
    a.error && a.error !== 'the provider is down' && h('pre', { class: 'error', tabindex: 0 }, visibleLines(a.error)));
}

// payloadText is the beginning of a payload as text, if it is one.
export function payloadText(base64) {
  const bytes = Uint8Array.from(atob(base64 ?? ''), (c) => c.charCodeAt(0));
  try {
    return visible(new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true }));
  } catch {
    return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(' ');
  }
}
