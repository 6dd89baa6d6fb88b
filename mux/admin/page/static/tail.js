// The live tail: events as they happen, in a list that does not grow.
import * as api from './api.js';
import { byId, h, setText } from './dom.js';
import { clock, count, short, some, visible } from './format.js';
import { answer, answerWord, decider, reasonText, tookUs } from './words.js';

const ROWS = 200; // that are shown, and that wait while it is paused
const PACE = 300; // ms between changes of the list: nobody reads faster

let query = null; // null: the tail is not on
let last = ''; // the query that the list is of
let following = null; // AbortController of the connection
let paused = false;
let arrived = []; // newest last, not yet in the list
let skipped = 0; // that were too many for it
let state = '';
let seen = 0;
let retry, pace;

// tail follows what query asks for. denied is called when one has to log in.
export function tail(q, denied) {
  if (query && following && JSON.stringify(q) === JSON.stringify(query)) return;
  leave();
  query = q;
  if (last !== JSON.stringify(q)) empty();
  else if (byId('tail').children.length) byId('tail').prepend(gap('not followed while the page was hidden, or showed something else'));
  last = JSON.stringify(q);
  connect(denied, 1000);
}

// resume goes on with what was followed last.
export function resume(denied) {
  if (last && !following) tail(JSON.parse(last), denied);
}

// leave ends the tail; what is in the list stays.
export function leave() {
  clearTimeout(retry);
  following?.abort();
  following = query = null;
}

async function connect(denied, delay) {
  const mine = new AbortController();
  following = mine;
  say('Connecting…');
  const again = (why) => {
    mark(why);
    retry = setTimeout(() => connect(denied, Math.min(delay * 2, 15_000)), delay);
  };
  try {
    await api.follow(query, {
      signal: mine.signal,
      opened: () => {
        delay = 1000;
        say('Following.');
      },
      on: take,
    });
    if (!mine.signal.aborted) again('The connection ended.');
  } catch (err) {
    if (mine.signal.aborted) return;
    if (err.status === 401) {
      query = following = null;
      denied();
    } else if (err.code === 'bad_request') {
      following = null;
      say(err.message);
    } else again(err.message ? `${visible(err.message)}.` : 'The connection broke.');
  }
}

function mark(why) {
  say(`${why} Trying again…`);
}

function take(event, data) {
  arrived.push([event, data]);
  if (arrived.length > ROWS) {
    arrived.shift();
    skipped++;
  }
  if (event === 'lost') seen += data.events;
  else seen++;
  pace ??= setTimeout(flush, PACE);
}

function flush() {
  pace = undefined;
  if (paused) {
    note();
    return;
  }
  const list = byId('tail');
  const rows = arrived.map(([event, data]) => (event === 'lost' ? gap(`${count(data.events)} more, too fast to follow`) : event === 'decision' ? decision(data) : notification(data)));
  if (skipped) rows.unshift(gap(`${count(skipped)} more, not shown`));
  arrived = [];
  skipped = 0;
  list.prepend(...rows.reverse());
  while (list.children.length > ROWS) list.lastChild.remove();
  note();
}

export function pause(on = !paused) {
  paused = on;
  const button = byId('tail-pause');
  button.textContent = paused ? 'Go on' : 'Pause';
  button.setAttribute('aria-pressed', String(paused));
  if (!paused) flush();
  note();
}

export function empty() {
  arrived = [];
  skipped = seen = 0;
  byId('tail').replaceChildren();
  note();
}

function say(text) {
  state = text;
  note();
}

function note() {
  const held = arrived.length + skipped;
  setText(byId('tail-note'), paused ? 'Paused.' : state);
  // Not in the same place: nobody wants to be told each number.
  setText(byId('tail-count'), paused ? `${some(held, 'new event')}${skipped ? `, of which the last ${ROWS} are kept` : ''}.` : seen ? `${some(seen, 'event')}.` : state === 'Following.' ? 'Nothing has happened yet.' : '');
}

const gap = (text) => h('tr', { class: 'gap' }, h('td', { colspan: 6 }, text));

function row(d, tone, what) {
  return h('tr', { class: tone },
    h('td', { 'data-label': 'Time', class: 'time' }, clock(new Date(d.time), true)),
    h('td', { 'data-label': 'Hook' }, d.hook),
    h('td', { 'data-label': 'Client' }, d.client ? h('a', { href: '#trail' + api.search({ client: d.client }) }, h('bdi', { class: 'id' }, short(d.client, 60))) : h('span', { class: 'muted' }, '–')),
    h('td', { 'data-label': 'What' }, what),
    h('td', { 'data-label': 'Topic' }, h('bdi', { class: 'id', title: d.topic?.length > 60 ? visible(d.topic) : undefined }, short(d.topic, 60))),
    h('td', { 'data-label': 'Took', class: 'num' }, tookUs(d.took_us)));
}

function decision(d) {
  const { tone } = answer(d);
  const silent = d.asked.filter((a) => a.reason);
  return row(d, tone, [
    h('strong', { class: tone }, answerWord(d)), decider(d) && ` by ${short(decider(d), 60)}`,
    silent.map((a) => h('span', { class: 'bad-text' }, ` · ${short(a.provider, 40)}: ${a.reason.replaceAll('_', ' ')}`)),
  ]);
}

function notification(n) {
  const lost = n.outcome !== 'delivered';
  return row(n, lost ? 'bad' : 'quiet', lost
    ? [h('strong', { class: 'bad' }, 'lost'), ` for ${short(n.provider, 60)}: ${reasonText(n.outcome)}`, n.error && h('span', { class: 'muted' }, ` (${short(n.error, 120)})`)]
    : [h('span', { class: 'muted' }, `told ${short(n.provider, 60)}`)]);
}
