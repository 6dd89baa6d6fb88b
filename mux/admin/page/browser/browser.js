// A real browser on the page of a hookmux that the Go test has started.
import { createRequire } from 'node:module';
import path from 'node:path';

const { PAGE_URL: url, PAGE_TOKEN: token, PAGE_CONTROL: control, PAGE_MODULES: modules, PAGE_CHROMIUM: chromium } = process.env;
if (!url) throw new Error('go test ./mux/admin/page runs this, with a hookmux');

// What the lane has installed is not beside this file.
const require = createRequire(path.join(modules, 'package.json'));
const playwright = require('playwright-core');
const axe = require.resolve('axe-core/axe.min.js');

export { url, token };
export const wide = { width: 1440, height: 900 };
export const narrow = { width: 390, height: 844 };
export const PATIENCE = 30_000; // ms, for a machine with much else to do

export const launch = () => playwright.chromium.launch({
  executablePath: chromium,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// happen has something happen to hookmux.
export async function happen(what, client = '') {
  const res = await fetch(`${control}/${what}?client=${encodeURIComponent(client)}`, { method: 'POST' });
  if (!res.ok) throw new Error(`${what}: ${res.status}`);
}

// open gives a page that complains about everything that a browser's console does. What
// is expected (a login that is refused, a server that is away) is allowed by its text.
export async function open(browser, { hash = '', loggedIn = true, viewport = wide, scheme = 'light', allow, before } = {}) {
  const context = await browser.newContext({ viewport, colorScheme: scheme });
  context.setDefaultTimeout(PATIENCE);
  if (loggedIn) {
    const res = await context.request.post(`${url}/login`, { data: { token } });
    if (!res.ok()) throw new Error(`log in: ${res.status()}`);
  }
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (err) => complaints.push(`exception: ${err.stack}`));
  page.on('console', (m) => {
    if ((m.type() === 'error' || m.type() === 'warning') && !allow?.test(m.text())) complaints.push(`${m.type()}: ${m.text()}`);
  });
  await before?.(page);
  await page.goto(`${url}/${hash}`);
  return {
    page,
    async close() {
      await context.close();
      if (complaints.length) throw new Error(`the console has: ${complaints.join('\n')}`);
    },
  };
}

// accessible throws what axe finds wrong, if it is serious; by these rules, or by all.
export async function accessible(page, where, rules) {
  // As a script of its own the page's policy would not let it in.
  await page.evaluate(await source());
  const found = await page.evaluate((only) => globalThis.axe.run(document, { resultTypes: ['violations'], ...(only && { runOnly: only }) }), rules);
  const serious = found.violations.filter((v) => ['serious', 'critical'].includes(v.impact));
  if (serious.length) {
    throw new Error(`${where}: ${serious.map((v) => `${v.id}: ${v.help}\n${v.nodes.slice(0, 5).map((n) => `  ${n.html}\n    ${n.any.concat(n.all, n.none).map((c) => c.message).join('; ')}`).join('\n')}`).join('\n')}`);
  }
}

let text;
async function source() {
  text ??= await (await import('node:fs/promises')).readFile(axe, 'utf8');
  return text;
}

// hide has the page believe that nobody sees it, or somebody does again.
export const hide = (page, hidden) => page.evaluate((is) => {
  Object.defineProperty(document, 'hidden', { value: is, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);

// overflow is by how many pixels the page is wider than its window.
export const overflow = (page) => page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth));
