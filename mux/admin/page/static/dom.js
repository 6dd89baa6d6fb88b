// Making and changing the document. Whatever comes from outside goes into text nodes
// and attributes, never into HTML.

const SVG = 'http://www.w3.org/2000/svg';

// h makes an element. A child is a node, a text, a list of children, or nothing
// (null, undefined, false, '').
export function h(tag, attrs, ...children) {
  return fill(document.createElement(tag), attrs, children);
}

// svg is h for SVG.
export function svg(tag, attrs, ...children) {
  return fill(document.createElementNS(SVG, tag), attrs, children);
}

function fill(el, attrs, children) {
  for (const [name, value] of Object.entries(attrs ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    el.setAttribute(name, value === true ? '' : value);
  }
  add(el, children);
  return el;
}

function add(el, children) {
  for (const c of children) {
    if (Array.isArray(c)) add(el, c);
    else if (c instanceof Node) el.append(c);
    else if (c !== undefined && c !== null && c !== false && c !== '') el.append(String(c));
  }
}

export const byId = (id) => document.getElementById(id);

// render makes the children of el as given, and keeps those nodes that are the same, so
// that focus, selection and scroll positions stay; what has the focus and goes leaves it to its
// neighbour. Elements are told apart by data-key.
export function render(el, ...children) {
  const next = el.cloneNode(false);
  add(next, children);
  const focused = el.contains(document.activeElement) ? document.activeElement : null;
  const around = [];
  for (let a = focused?.parentElement; a && a !== el; a = a.parentElement) around.push(a);
  morphChildren(el, next);
  if (focused && !focused.isConnected) around.find((a) => a.isConnected)?.querySelector('button, a')?.focus();
}

// setText leaves the node alone if there is nothing to change.
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

const keyOf = (n) => n.dataset?.key;

function morph(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== 'open' && !next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, next);
}

function morphChildren(old, next) {
  const keyed = new Map();
  for (const c of old.childNodes) if (keyOf(c)) keyed.set(keyOf(c), c);
  let at = old.firstChild;
  for (const want of [...next.childNodes]) {
    const key = keyOf(want);
    let have = key ? keyed.get(key) : at;
    // What has a key is found by it, and may stand between those that have none.
    while (!key && have && keyOf(have)) have = have.nextSibling;
    if (!have || !same(have, want)) {
      old.insertBefore(want, at);
      continue;
    }
    if (have === at) at = at.nextSibling;
    else old.insertBefore(have, at);
    keyed.delete(key);
    morph(have, want);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// announce says something to those who do not see it.
export function announce(text) {
  byId('live').textContent = text;
}

// toast shows how something ended. One that tells of a failure stays until it is closed.
export function toast(text, { bad = false } = {}) {
  const close = h('button', { type: 'button', class: 'plain', 'aria-label': 'Close' }, '✕');
  const el = h('div', { class: bad ? 'toast bad' : 'toast' }, h('p', null, text), close);
  close.addEventListener('click', () => el.remove());
  const all = byId('toasts');
  all.append(el);
  while (all.children.length > 4) all.firstChild.remove();
  if (!bad) setTimeout(() => el.remove(), 8000);
}

// confirm asks before something is done, and shows how long it takes and why it failed.
// act does it; confirm ends when it has been done or canceled.
export function confirm({ title, text, yes, danger = false, act }) {
  const dialog = byId('confirm');
  const button = byId('confirm-yes');
  const error = byId('confirm-error');
  const abort = new AbortController();
  byId('confirm-title').textContent = title;
  byId('confirm-text').replaceChildren(...text);
  button.textContent = yes;
  button.className = danger ? 'danger' : 'primary';
  button.removeAttribute('aria-disabled');
  error.textContent = '';
  dialog.returnValue = 'no';
  const { signal } = abort;
  let busy = false;
  button.addEventListener('click', async (e) => {
    e.preventDefault();
    if (busy) return;
    busy = true;
    button.setAttribute('aria-disabled', 'true');
    button.textContent = 'Working…';
    error.textContent = '';
    try {
      await act();
      if (!signal.aborted) dialog.close('yes');
    } catch (err) {
      if (signal.aborted) { // somebody closed it, and may be asked something else by now
        toast(`${title} ${err.message}`, { bad: true });
        return;
      }
      error.textContent = err.message;
      button.textContent = 'Try again';
    }
    busy = false;
    button.removeAttribute('aria-disabled');
  }, { signal });
  dialog.addEventListener('close', () => abort.abort(), { signal });
  dialog.showModal();
  byId('confirm-no').focus();
}
