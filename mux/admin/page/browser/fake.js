// A hookmux in states that are hard to make: nothing there, very much there, hostile
// names. It answers what the page asks for, in the shapes of ../../openapi.yaml.

const hour = 3600_000;
const start = Date.now();
const ago = (ms) => new Date(start - ms).toISOString();
const policy = (word, more) => ({ error: word, timeout: word, breaker_open: word, overload: word, down: word, invalid: word, ...more });

export const hostile = '<img src=x onerror="window.pwned=1">';
const long = 'a-provider-whose-name-somebody-has-made-very-long-so-that-no-table-cell-has-room-for-it-2';

const provider = (name, more) => ({
  name, kind: 'plugin', status: 'up', since: ago(5 * hour), enabled: true, draining: false, timeout_ms: 2000, pid: 4711, restarts: 0,
  hooks: ['client.authenticate'], hooks_known: true, breakers: { 'client.authenticate': 'closed', notifications: 'closed' },
  waiting_events: 0, waiting_bytes: 0, sent: 1200, delivered: 1200, dropped: {}, decided: { 'client.authenticate': 5120 }, missing: {}, late: 0, ...more,
});

const broker = (node, more) => ({ node, version: '5.10.1', service: 'emqx.exhook.v3.HookProvider', hooks: ['client.authenticate', 'client.authorize', 'message.publish', 'client.connected'], ...more });

const asked = (name, more) => ({ name, topics: [], policy: policy('deny'), timeout_ms: 2000, pure: false, observe: false, delivery: 'async', ...more });

const hook = (name, valued, providers, more) => ({ hook: name, valued, strategy: valued ? 'chain' : '', default: '', providers, ...more });

export function empty() {
  return { version: 'v0.3.0', listen: '127.0.0.1:9000', started: ago(4000), ready: true, providers: [], hooks: [], brokers: [] };
}

const crash = `its process ended with exit status 1; its last output:
  | INFO connecting url=postgres://db.example:5432/accounts
  | panic: runtime error: invalid memory address or nil pointer dereference
  | goroutine 1 [running]:
  | main.(*plugin).load(0x0)
  | 	/src/accounts/main.go:57 +0x1c`;

export function busy() {
  const hooks = [
    hook('client.authenticate', true, [asked('login'), asked('ldap', { policy: policy('ignore', { timeout: 'deny' }), timeout_ms: 750, pure: true }), asked(long), asked('audit', { observe: true, policy: {} })], { default: 'deny' }),
    hook('client.authorize', true, [asked('topics', { topics: ['sensors/#', 'buildings/+/floors/+/rooms/+/sensors/+/temperature/raw'] }), asked('quota', { policy: policy('ignore') })], { strategy: 'all' }),
    hook('message.publish', true, [asked('topics', { topics: ['a/#', 'b/#', 'c/#', 'd/#'] }), asked('schema', { policy: policy('allow') })]),
    hook('client.connected', false, [asked('presence', { policy: undefined }), asked('audit', { policy: undefined, delivery: 'durable' })]),
    hook('session.subscribed', false, [asked('presence', { policy: undefined })]),
    hook('message.delivered', false, [asked('audit', { policy: undefined, delivery: 'sync' })]),
  ];
  const providers = [
    provider('login', { restarts: 7, status: 'restarting', since: ago(2300), pid: undefined, last_error: crash, breakers: {}, waiting_events: 1290, waiting_bytes: 713_000, missing: { down: 190, error: 2 }, hooks: ['client.authenticate', 'client.connected'] }),
    provider('ldap', { kind: 'remote', pid: undefined, breakers: { 'client.authenticate': 'open' }, last_error: 'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.7:9001: connect: connection refused"', missing: { breaker_open: 310, timeout: 12 } }),
    provider(long, { problems: ['process.memory: this machine has no cgroup v2 that hookmux may use'], since: ago(30 * 24 * hour) }),
    provider('topics', { restarts: 1, since: ago(40_000), last_error: 'it hung: 3 health checks in a row failed (context deadline exceeded), so its process group was killed', hooks: ['client.authorize', 'message.publish'], decided: { 'client.authorize': 81234, 'message.publish': 9_123_456 } }),
    provider('quota', { status: 'disabled', enabled: false, pid: undefined, breakers: {}, since: ago(2 * hour), waiting_events: 40, waiting_bytes: 9000 }),
    provider('schema', { status: 'quarantined', restarts: 31, since: ago(20_000), pid: undefined, breakers: {}, last_error: `start: ${'the file /etc/schema/very/long/path/that/goes/on/'.repeat(8)}schema.json is not there` }),
    provider('presence', { hooks: ['client.connected', 'session.subscribed'], waiting_events: 12, waiting_bytes: 4300, dropped: { lane_full: 9120 }, decided: {} }),
    provider('audit', { status: 'draining', draining: true, enabled: false, waiting_events: 3, waiting_bytes: 900 }),
    ...Array.from({ length: 12 }, (_, i) => provider(`tenant-${i + 1}`, { pid: 5000 + i, since: ago((i + 1) * 7 * hour) })),
  ];
  return {
    stored: [
      { provider: 'audit', orphaned: false, events: 41_234, bytes: 18_000_000, oldest: ago(hour / 6), dead: 3, dead_bytes: 2000, oldest_dead: ago(hour) },
      { provider: 'history', orphaned: true, events: 12, bytes: 9000, oldest: ago(40 * hour), dead: 0, dead_bytes: 0 },
    ],
    version: 'v0.3.0-12-gabcdef1', config: '/etc/hookmux/hookmux.yaml', listen: '127.0.0.1:9000', started: ago(31 * 24 * hour), ready: true, providers, hooks,
    brokers: [broker('emqx@10.0.0.1'), broker('emqx@10.0.0.2', { missing: ['message.publish'] }), broker('emqx@node-with-a-long-name.cluster.example.internal', { version: '4.4.19', service: 'emqx.exhook.v1.HookProvider' })],
  };
}

export function well() {
  const s = busy();
  const hooks = s.hooks.map((q) => ({ ...q, providers: q.providers.filter((p) => ['presence', 'topics'].includes(p.name)) })).filter((q) => q.providers.length);
  const providers = [provider('topics'), provider('presence', { hooks: ['client.connected'] })];
  return { ...s, hooks, providers, brokers: [broker('emqx@10.0.0.1')], stored: undefined };
}

const part = (name, verdict, more) => ({ provider: name, verdict, waited_us: 0, took_us: 830, ...more });

export function decisions() {
  const d = (id, more) => ({
    id, time: ago((100 - id) * 1700), node: 'emqx@10.0.0.1', hook: 'client.authenticate', client: `meter-${id}`, username: 'meter', topic: '', action: '', strategy: 'chain',
    answer: 'allow', final: false, by: 'login', took_us: 1310, asked: [part('login', 'allow')], ...more,
  });
  return [
    d(99, { answer: 'deny', by: 'login, which did not answer', final: true, asked: [part('ldap', 'ignore'), part('login', 'none', { reason: 'down', error: 'the provider is down', policy: 'deny', took_us: 4 })] }),
    d(98, { client: hostile, username: hostile, answer: 'deny', by: 'login', asked: [part('login', 'deny', { final: true })] }),
    d(97, { hook: 'message.publish', topic: 'buildings/1/floors/3/rooms/14/sensors/temperature/raw', answer: 'rewrite', by: 'topics', asked: [part('topics', 'rewrite', { changed: ['topic', 'payload'] }), part('schema', 'pass')], new_topic: 'cooked/temperature' }),
    d(96, { hook: 'client.authorize', action: 'subscribe', topic: `${hostile}/#`, client: 'x\u202egnp.exe', answer: 'deny', by: 'default', asked: [part('topics', 'ignore')] }),
    d(95, { hook: 'message.publish', topic: 'door/log', answer: 'drop', by: 'topics', asked: [part('topics', 'drop'), part('schema', 'none', { unneeded: true })] }),
    d(94, { client: '', answer: 'ignore', by: '', asked: [] }),
    ...Array.from({ length: 20 }, (_, i) => d(93 - i)),
  ];
}

// Metrics grows with each scrape; of a hookmux that is well nothing is lost.
export class Metrics {
  n = 0;
  constructor(well = false) {
    this.well = well;
  }

  text() {
    this.n++;
    const rows = [];
    const histogram = (name, labels, count, scale) => {
      const bounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
      for (const b of bounds) rows.push(`${name}_bucket{${labels},le="${b}"} ${Math.round(count * (1 - Math.exp(-b / scale)))}`);
      rows.push(`${name}_bucket{${labels},le="+Inf"} ${count}`, `${name}_count{${labels}} ${count}`);
    };
    const wave = (every, size) => Math.round(this.n * size + size * 2 * Math.sin(this.n / every) + size * 2);
    ['client.authenticate', 'client.authorize', 'message.publish', 'client.connected', 'session.subscribed', 'message.delivered'].forEach((hook, i) => {
      histogram('hookmux_event_duration_seconds', `hook="${hook}"`, wave(3 + i, [40, 120, 2600, 40, 4, 0][i]), [0.002, 0.0006, 0.0012, 0.00004, 0.00005, 1][i]);
    });
    rows.push(`hookmux_decisions_total{hook="client.authenticate",answer="deny"} ${wave(4, 9)}`);
    for (const p of busy().providers) {
      histogram('hookmux_provider_answer_duration_seconds', `provider="${p.name}",hook="client.authenticate"`, wave(5, 30), 0.0009);
      rows.push(`hookmux_notifications_total{provider="${p.name}",hook="client.connected",outcome="delivered"} ${wave(5, 12)}`);
    }
    if (this.well) return rows.join('\n') + '\n';
    rows.push(`hookmux_notifications_total{provider="presence",hook="client.connected",outcome="lane_full"} ${wave(2, 3)}`);
    rows.push(`hookmux_provider_answers_total{provider="topics",hook="client.authorize",outcome="timeout"} ${wave(2, 2)}`);
    return rows.join('\n') + '\n';
  }
}

const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

export function tail() {
  return decisions().map((d) => event('decision', d)).join('') + event('lost', { events: 12 }) + [
    { time: ago(100), node: 'emqx@10.0.0.1', hook: 'client.connected', client: hostile, username: '', topic: '', provider: 'presence', outcome: 'delivered', took_us: 240 },
    { time: ago(90), node: 'emqx@10.0.0.1', hook: 'client.connected', client: 'meter-7', username: '', topic: '', provider: 'audit', outcome: 'lane_full', error: 'its lane is full', took_us: 240 },
  ].map((n) => event('notification', n)).join('');
}

// serve has a page's requests answered by a fake; the page's own files come from the real one.
export async function serve(page, status, { metrics = new Metrics(status === well), found = decisions() } = {}) {
  const json = (route, body, code = 200) => route.fulfill({ status: code, contentType: 'application/json', body: JSON.stringify(body) });
  await page.route('**/v1/status', (r) => json(r, status()));
  await page.route('**/metrics', (r) => r.fulfill({ contentType: 'text/plain', body: status === empty ? '' : metrics.text() }));
  await page.route('**/v1/decisions*', (r) => {
    const q = new URL(r.request().url()).searchParams;
    const fits = found.filter((d) => (!q.get('client') || d.client === q.get('client')) && (!q.get('answer') || d.answer === q.get('answer') || (q.get('answer') === 'refused' && ['deny', 'drop'].includes(d.answer))));
    json(r, { decisions: fits, kept: 4211, limit: 6000 });
  });
  await page.route('**/v1/tail*', (r) => r.fulfill({ contentType: 'text/event-stream', body: tail() }));
}
