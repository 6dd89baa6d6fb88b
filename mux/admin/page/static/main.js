// The page: where one is, what is asked of hookmux and how often, and what is done.
import * as api from './api.js';
import { announce, byId, confirm, h, setText, toast } from './dom.js';
import { clock, list, visible } from './format.js';
import { History } from './metrics.js';
import { aboutText, overview } from './overview.js';
import { problems, stateOf } from './problems.js';
import { provider } from './provider.js';
import { hooks } from './hooks.js';
import * as trail from './trail.js';
import * as tail from './tail.js';
import { consequence } from './words.js';

const POLL = 2000; // ms between two polls
const views = ['overview', 'provider', 'hooks', 'trail', 'tail'];

// state is all that is shown of hookmux. It is null until the first answer.
let state = null;
const history = new History();
let loggedOut = false; // hookmux wants the token
let timer, polling = false;
let failures = 0, lastGood = 0;

// --- Where one is: #view?query.

function where() {
  const [view, query = ''] = decodeHash().split('?');
  return { view: views.includes(view) ? view : 'overview', query: Object.fromEntries(new URLSearchParams(query)) };
}

const decodeHash = () => location.hash.slice(1);

const go = (view, query = {}) => {
  const hash = `#${view}${api.search(query)}`;
  if (location.hash === hash) arrive();
  else location.hash = hash;
};

// arrive shows the view that the address names, and has it begin its work.
function arrive(focus = true) {
  const { view, query } = where();
  show(loggedOut ? 'login' : view);
  if (view !== 'tail') tail.leave();
  if (loggedOut) {
    byId('login').elements.token.focus();
    return;
  }
  if (!state) return; // the first answer arrives here again
  draw();
  if (view === 'trail') trail.trail(fillForm('trail-form', query), trouble, state.status);
  if (view === 'tail') tail.tail(fillForm('tail-form', query), logOut);
  // After a click the focus would stay in what is hidden now.
  if (focus) byId(`${view}-title`).focus({ preventScroll: true });
  if (focus) scrollTo(0, 0);
}

function show(view) {
  const wait = !state && view !== 'login'; // there is nothing to show
  for (const v of ['login', 'wait', ...views]) byId(`view-${v}`).hidden = v !== (wait ? 'wait' : view);
  for (const a of byId('nav').children) {
    const here = a.hash === `#${view}` || (view === 'provider' && a.hash === '#overview');
    if (here) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  byId('nav').hidden = loggedOut;
  for (const el of document.querySelectorAll('.needs-login')) el.hidden = loggedOut || !state;
}

// fillForm puts a query into a form, and gives what of it the form has.
function fillForm(id, query) {
  const q = {};
  for (const el of byId(id).elements) {
    if (!el.name) continue;
    const value = query[el.name] ?? '';
    if (el.tagName === 'SELECT' && ![...el.options].some((o) => o.value === value)) el.append(h('option', { value }, visible(value)));
    el.value = value;
    q[el.name] = value;
  }
  return q;
}

const formQuery = (form) => Object.fromEntries([...new FormData(form)].map(([k, v]) => [k, k === 'client' || k === 'topic' ? v : v.trim()]));

// --- What hookmux says, again and again while somebody looks.

async function poll() {
  clearTimeout(timer);
  if (polling || loggedOut || document.hidden) return;
  polling = true;
  try {
    const [status, metrics] = await Promise.all([api.status(), api.metrics().catch((err) => err)]);
    take(status, metrics);
  } catch (err) {
    trouble(err);
  } finally {
    polling = false;
  }
  if (!loggedOut && !document.hidden) timer = setTimeout(poll, failures ? Math.min(POLL * failures, 15_000) : POLL);
}

function take(status, metrics) {
  const before = state?.status;
  if (before && before.started !== status.started) history.forget();
  const time = api.now();
  if (metrics instanceof Error) {
    if (metrics.status === 401) throw metrics;
    history.error = metrics.status === 404 ? 'This hookmux has no metrics, so there are no rates and times.' : `There are no rates and times now: /metrics: ${metrics.message}.`;
  } else history.add(time, metrics, new Set(status.hooks.filter((q) => q.valued).map((q) => q.hook)));
  state = { status, history, time, problems: problems(status, history.now) };
  failures = 0;
  lastGood = Date.now();
  byId('banner').hidden = true;
  document.body.classList.remove('stale');
  options(status);
  if (!before) arrive(false);
  changes(before, status);
  draw();
}

// trouble shows that hookmux cannot be asked. In note it says why a request was refused.
function trouble(err, note) {
  if (err.status === 401) {
    logOut();
    return;
  }
  if (note && err.status) {
    note.textContent = err.message;
    return;
  }
  failures++;
  const old = state ? ` What you see is of ${clock(new Date(lastGood))}.` : '';
  setText(byId('banner-text'), err.status ? `hookmux answers, but not as it should: ${visible(err.message)}.${old} Trying again…` : `hookmux does not answer (${visible(err.message)}).${old} Trying again…`);
  byId('banner').hidden = false;
  document.body.classList.add('stale');
  setText(byId('pulse'), '');
  if (note && !polling) {
    clearTimeout(timer);
    timer = setTimeout(poll, POLL);
  }
}

// options fills the selects with the names that there are.
function options(status) {
  const names = {
    providers: status.providers.map((p) => p.name),
    hooks: status.hooks.map((q) => q.hook),
    valued: status.hooks.filter((q) => q.valued).map((q) => q.hook),
  };
  for (const select of document.querySelectorAll('select[data-fill]')) {
    const want = names[select.dataset.fill];
    const have = [...select.options].map((o) => o.value);
    for (const name of want) if (!have.includes(name)) select.append(h('option', { value: name }, visible(name)));
    for (const o of [...select.options]) if (o.value && !want.includes(o.value) && !o.selected) o.remove();
  }
}

// changes says to those who do not see it what has become otherwise.
function changes(before, status) {
  if (!before) return;
  const said = [];
  for (const p of status.providers) {
    const old = before.providers.find((q) => q.name === p.name);
    const word = stateOf(p).word;
    if (old && stateOf(old).word !== word) said.push(`${p.name}: ${word}`);
  }
  if (said.length) announce(said.join('; '));
}

function draw() {
  if (!state || loggedOut) return;
  const { view, query } = where();
  setText(byId('about'), aboutText(state.status, state.time));
  setText(byId('pulse'), state.status.ready ? '' : 'starting…');
  const bad = state.problems.filter((p) => p.tone === 'bad').length;
  const title = (bad ? `(${bad}) ` : '') + (view === 'overview' ? 'hookmux' : `${view === 'provider' ? visible(query.name) : byId(`${view}-title`).textContent} · hookmux`);
  if (document.title !== title) document.title = title;
  if (view === 'overview') overview(state);
  if (view === 'provider') provider(state, query.name ?? '');
  if (view === 'hooks') hooks(state);
}

// --- Logging in and out.

function logOut() {
  loggedOut = true;
  state = null;
  history.forget();
  failures = 0;
  clearTimeout(timer);
  tail.leave();
  byId('banner').hidden = true;
  for (const id of ['attention', 'tiles', 'providers', 'brokers', 'provider', 'hooks', 'trail', 'tail', 'about', 'pulse']) byId(id).replaceChildren();
  document.title = 'Log in · hookmux';
  arrive();
}

byId('login').addEventListener('submit', async (e) => {
  e.preventDefault();
  const { token } = e.target.elements;
  const error = byId('login-error');
  error.textContent = '';
  try {
    await api.login(token.value);
  } catch (err) {
    error.textContent = err.status === 401 ? 'This is not the token.' : `hookmux could not be asked: ${err.message}.`;
    token.select();
    return;
  }
  token.value = '';
  loggedOut = false;
  await poll();
  if (state) byId(`${where().view}-title`).focus();
  else show(where().view); // the banner says why
});

// --- What one can do.

const verbs = {
  restart: {
    yes: 'Restart', done: 'has been restarted',
    text: () => ['A new process is started, takes over, and the old one ends when it has answered. If the new one does not start, nothing changes.'],
  },
  drain: {
    yes: 'Drain', done: 'is being drained', danger: true,
    text: (p) => ['It gets nothing new. When what waits in its lane has been delivered it is disabled.', ...absence(p)],
  },
  disable: {
    yes: 'Disable', done: 'is disabled', danger: true,
    text: (p) => ['It is taken out of service now; a plugin\u2019s process ends.', ...absence(p)],
  },
  enable: { yes: 'Enable', done: 'is enabled', text: (p) => [p.draining ? 'It is asked and told again.' : 'It is started, and asked and told again.'] },
};

function absence(p) {
  const { lines } = consequence(p.name, state.status.hooks, p.waiting_events);
  return [h('ul', null, lines.map((l) => h('li', null, l))), 'It stays so, also when hookmux is started anew, until it is enabled.'];
}

const acts = {
  reload: () => confirm({
    title: 'Reload the config?', yes: 'Reload',
    text: [h('p', null, 'hookmux reads ', state.status.config ? h('code', null, visible(state.status.config)) : 'its config', ' anew. If there is a mistake in it, or a new plugin does not start, nothing changes.')],
    act: async () => {
      const c = await api.reload();
      const parts = ['added', 'removed', 'restarted', 'changed'].filter((k) => c[k]?.length).map((k) => `${k} ${list(c[k])}`);
      if (c.reordered) parts.push('another order');
      if (c.settings?.length) parts.push(`other settings: ${c.settings.join(', ')}`);
      toast(`Reloaded: ${parts.length ? visible(parts.join('; ')) : 'nothing has changed'}.`);
      poll();
    },
  }),
  verb: ({ verb, provider: name }) => {
    const p = state.status.providers.find((q) => q.name === name);
    if (!p) return;
    const v = verbs[verb];
    confirm({
      title: `${v.yes} ${visible(name)}?`, yes: v.yes, danger: v.danger,
      text: v.text(p).map((t) => (t instanceof Node ? t : h('p', null, t))),
      act: async () => {
        await api.act(name, verb);
        toast(`${visible(name)} ${v.done}.`);
        poll();
      },
    });
  },
  retry: () => poll(),
  skip: () => byId('main').focus(),
  logout: async () => {
    try {
      await api.logout();
      logOut();
    } catch (err) {
      trouble(err);
    }
  },
  'trail-more': () => trail.more(trouble),
  'trail-clear': () => go('trail'),
  'tail-clear': () => go('tail'),
  'tail-pause': () => tail.pause(),
  'tail-empty': () => tail.empty(),
};

document.addEventListener('click', (e) => {
  const el = e.target.closest('[data-act]');
  if (!el) return;
  e.preventDefault(); // the skip link would change where one is
  acts[el.dataset.act](el.dataset);
});

for (const [id, view] of [['ask', 'trail'], ['trail-form', 'trail'], ['tail-form', 'tail']]) {
  byId(id).addEventListener('submit', (e) => {
    e.preventDefault();
    go(view, formQuery(e.target));
  });
}

addEventListener('hashchange', () => arrive());
document.addEventListener('visibilitychange', () => {
  // Nobody looks: hookmux is not asked, and the tail does not fill up.
  if (document.hidden) {
    clearTimeout(timer);
    tail.leave();
  } else {
    poll();
    if (where().view === 'tail' && !loggedOut) tail.resume(logOut);
  }
});

const theme = byId('theme');
theme.value = document.documentElement.dataset.theme || 'auto';
theme.addEventListener('change', () => {
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem('hookmux-theme', theme.value);
  } catch {
    // No storage here: until the page is left.
  }
});

arrive(false);
poll();
