// Asking hookmux. A failure is a Failure, with what it says.

export class Failure extends Error {
  constructor(message, { status = 0, code = '' } = {}) {
    super(message);
    this.status = status; // 0: there was no answer
    this.code = code;
  }
}

let skew = 0; // how far hookmux's clock is ahead of ours, in ms

// now is the time in hookmux's clock, in ms.
export const now = () => Date.now() + skew;

async function ask(path, { method = 'GET', body, timeout = 10_000, signal } = {}) {
  const headers = {};
  if (method !== 'GET') headers['X-Hookmux'] = '1';
  if (body) headers['Content-Type'] = 'application/json';
  const signals = [signal, timeout && AbortSignal.timeout(timeout)].filter(Boolean);
  let res;
  try {
    res = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: 'no-store', credentials: 'same-origin', signal: signals.length ? AbortSignal.any(signals) : undefined,
    });
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new Failure(err.name === 'TimeoutError' ? `no answer within ${timeout / 1000} s` : 'no connection');
  }
  const date = Date.parse(res.headers.get('Date'));
  // The header has whole seconds, so a small difference is none.
  if (date) skew = Math.abs(date - Date.now()) > 2500 ? date - Date.now() : 0;
  if (res.ok) return res;
  let said = {};
  try {
    said = (await res.json()).error ?? {};
  } catch {
    // It is not hookmux that answers.
  }
  throw new Failure(said.message || `HTTP status ${res.status}`, { status: res.status, code: said.code });
}

const json = async (...args) => {
  const res = await ask(...args);
  try {
    return await res.json();
  } catch {
    throw new Failure('the answer was cut short');
  }
};

const at = (name) => `/v1/providers/${encodeURIComponent(name)}`;

// A plugin has a minute to start; with several, hookmux starts them beside each other.
const slow = 150_000;

export const status = () => json('/v1/status');
export const metrics = async () => (await ask('/metrics')).text();
export const decisions = (query, signal) => json('/v1/decisions' + search(query), { signal });
export const act = (provider, verb) => json(`${at(provider)}/${verb}`, { method: 'POST', timeout: slow });
export const reload = () => json('/v1/reload', { method: 'POST', timeout: slow });
export const login = (token) => json('/login', { method: 'POST', body: { token } });
export const logout = () => json('/logout', { method: 'POST' });

// search is a query without what is empty.
export function search(query) {
  const q = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== '' && v !== undefined)).toString();
  return q && '?' + q;
}

// follow calls on(event, data) for each event of the tail, until signal aborts or the
// connection ends; opened once it is there.
export async function follow(query, { signal, opened, on }) {
  const res = await ask('/v1/tail' + search(query), { signal, timeout: 0 });
  opened();
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block);
      const data = /^data: (.*)$/m.exec(block);
      if (event && data) on(event[1], JSON.parse(data[1]));
    }
  }
}
