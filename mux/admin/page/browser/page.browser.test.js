// What people do with the page, in a real browser, with a real hookmux behind it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fake from './fake.js';
import { accessible, happen, hide, launch, narrow, open, overflow, token, url, wide } from './browser.js';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

// on runs a test on a page of its own.
function on(name, options, f) {
  test(name, async () => {
    const { page, close } = await open(browser, options);
    await f(page);
    await close();
  });
}

on('somebody new finds which plugin is crashing, and why', {}, async (page) => {
  const begin = Date.now();
  // The page as it opens says it, and what to click.
  const alarm = page.getByRole('list', { name: 'What is wrong' }).getByRole('listitem').filter({ hasText: 'accounts' });
  await alarm.getByText('cannot reach the database at db.example:5432').waitFor();
  assert.match(await alarm.innerText(), /accounts (does|did) not start/);
  assert.match(await alarm.innerText(), /exited with status 3/);
  const row = page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: 'accounts' }) });
  assert.match(await row.innerText(), /does not start|tried again/);
  await page.waitForFunction(() => /^\(\d+\) hookmux/.test(document.title));
  await alarm.getByRole('link', { name: 'accounts' }).click();
  await page.getByRole('heading', { level: 1, name: 'accounts' }).waitFor();
  await page.locator('#provider').getByText('cannot reach the database').waitFor();
  assert.ok(Date.now() - begin < 60_000, 'it took more than a minute');
});

on('somebody new finds why a client was refused', {}, async (page) => {
  await happen('subscribe', 'meter-17');
  const begin = Date.now();
  await page.getByLabel('Why was a client refused?').fill('meter-17');
  await page.getByRole('button', { name: 'Explain' }).click();
  const story = page.locator('.story').first();
  await story.waitFor();
  const text = await story.innerText();
  assert.match(text, /client meter-17 .*was refused\. accounts gave no answer \(down\), and its failure policy for that is deny\./);
  assert.ok(Date.now() - begin < 60_000, 'it took more than a minute');
  // Here, too, it says why it was down, and what to do.
  assert.match(text, /It is still down: .*exited with status 3[^]*cannot reach the database/);
  assert.match(text, /To go on: Mend what accounts ended for\./);
  // Who crashes is one click from here.
  await story.getByRole('link', { name: 'accounts' }).click();
  await page.locator('#provider').getByText('cannot reach the database').waitFor();
  await page.goBack();
  await page.locator('.story').first().waitFor();
});

on('a link leads to a client\u2019s refusal by a plugin', {
  before: () => happen('login', 'bad-meter'), hash: '#trail?client=bad-meter',
}, async (page) => {
  await page.locator('.story').getByText('The login of client bad-meter').waitFor();
  assert.match(await page.locator('.story').innerText(), /was refused\. gate refused it\.[^]*To go on: That is what gate is there for/);
  assert.equal(await page.locator('#trail-form').getByLabel('Client id').inputValue(), 'bad-meter');
});

on('a client of which nothing is known', { hash: '#trail?client=nobody' }, async (page) => {
  await page.getByText('Nothing is remembered that fits').waitFor();
});

on('rates and times appear, and the order in which providers are asked', { hash: '#hooks', before: () => happen('crowd', 'a') }, async (page) => {
  await happen('crowd', 'b');
  const card = page.locator('.hook').filter({ has: page.getByRole('heading', { name: 'client.authenticate' }) });
  await page.waitForFunction(() => /^\d/.test(document.querySelector('.hook .value')?.textContent));
  for (;;) { // until a poll lies before and one behind it
    if (/[1-9][0-9.]*\/s/.test(await card.innerText())) break;
    await happen('crowd', 'c');
  }
  await card.getByText('p99').waitFor();
  assert.match(await card.innerText(), /gate within .* no answer: deny/);
  assert.match(await card.innerText(), /No opinion at all: deny\./);
  await card.locator('path.line[d^="M"]').first().waitFor();
});

on('the tail, with a filter and a pause', { hash: '#tail' }, async (page) => {
  await page.getByText('Following.').waitFor();
  await happen('login', 'meter-1');
  await page.locator('#tail tr').filter({ hasText: 'meter-1' }).filter({ hasText: 'allowed by gate' }).waitFor();

  const form = page.locator('#tail-form');
  await form.getByLabel('Client id').fill('meter-2');
  await form.getByRole('button', { name: 'Follow' }).click();
  await page.waitForFunction(() => location.hash === '#tail?client=meter-2' && document.querySelector('#tail-note').textContent === 'Following.');
  await happen('login', 'meter-1');
  await happen('login', 'meter-2');
  await page.locator('#tail tr').filter({ hasText: 'meter-2' }).waitFor();
  assert.equal(await page.locator('#tail tr').filter({ hasText: 'meter-1' }).count(), 0);

  await page.getByRole('button', { name: 'Pause' }).click();
  await happen('login', 'meter-2');
  await page.getByText('1 new event.').waitFor();
  assert.equal(await page.locator('#tail tr').count(), 1);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.waitForFunction(() => document.querySelectorAll('#tail tr').length === 2);
});

on('the tail does not grow', { hash: '#tail' }, async (page) => {
  await page.getByText('Following.').waitFor();
  await happen('crowd', 'd');
  await page.waitForFunction(() => document.querySelectorAll('#tail tr').length === 200);
  await happen('login', 'the-last');
  await page.locator('#tail tr').filter({ hasText: 'the-last' }).waitFor();
  assert.equal(await page.locator('#tail tr').count(), 200);

  // Hidden it follows nothing, and says so when it is back.
  await hide(page, true);
  await happen('login', 'unseen');
  await hide(page, false);
  await page.locator('#tail .gap').filter({ hasText: 'not followed while the page was hidden' }).waitFor();
  await page.getByText('Following.').waitFor();
  await happen('login', 'seen-again');
  await page.locator('#tail tr').filter({ hasText: 'seen-again' }).waitFor();
  assert.equal(await page.locator('#tail tr').filter({ hasText: 'unseen' }).count(), 0);
});

on('restart, drain, enable, disable, reload: asked first, and what came of it', {}, async (page) => {
  const dialog = page.getByRole('dialog');
  const row = page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: 'presence' }) });
  const press = async (button, { sure = true } = {}) => {
    await page.getByRole('button', { name: button, exact: true }).click();
    await dialog.waitFor();
    await dialog.getByRole('button', { name: sure ? button.split(' ')[0] : 'Cancel', exact: true }).click();
    await dialog.waitFor({ state: 'hidden' });
  };
  await row.getByText('up').waitFor();

  await press('Disable presence', { sure: false });
  assert.match(await row.innerText(), /\bup\b/);

  await press('Restart presence');
  await page.getByText('presence has been restarted.').waitFor();

  await page.getByRole('button', { name: 'Disable presence' }).click();
  await dialog.getByText('Notifications wait in its lane').waitFor();
  await dialog.getByRole('button', { name: 'Disable' }).click();
  await page.getByText('presence is disabled.').waitFor();
  await row.getByText('disabled').waitFor();
  // The button that was pressed is gone: the focus is not lost with it.
  await page.waitForFunction(() => document.activeElement.getAttribute('aria-label') === 'Enable presence');
  await happen('deliver', 'meter-1');
  await row.getByText('1 · ').waitFor(); // what waits in its lane

  await press('Enable presence');
  await row.getByText('empty').waitFor();
  await press('Drain presence');
  await row.getByText('disabled').waitFor();
  await press('Enable presence');
  await row.getByText('up', { exact: false }).waitFor();

  // It says who is refused without it.
  await page.getByRole('button', { name: 'Disable gate' }).click();
  await dialog.getByText('client.authenticate: refused without it').waitFor();
  await page.keyboard.press('Escape');

  await page.getByRole('button', { name: 'Reload…' }).click();
  await dialog.getByRole('button', { name: 'Reload', exact: true }).click();
  await page.getByText('Reloaded: nothing has changed.').waitFor();
});

on('what cannot be done says so where it was asked for', { allow: /422/ }, async (page) => {
  await page.getByRole('button', { name: 'Restart accounts' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Restart' }).click();
  await dialog.getByRole('alert').getByText(/accounts|start/).waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
});

on('names that are HTML are shown as they are', { hash: '#tail', allow: /400|Content Security Policy/ }, async (page) => {
  await page.getByText('Following.').waitFor();
  await happen('login', fake.hostile);
  await happen('subscribe', fake.hostile);
  await page.locator('#tail tr').filter({ hasText: fake.hostile }).first().waitFor();
  await page.locator('#tail a').filter({ hasText: fake.hostile }).first().click();
  await page.locator('.story').getByText(fake.hostile).first().waitFor();
  await happen('login', 'x\u202egnp');
  await page.goto(`${url}/#trail?client=${encodeURIComponent('x\u202egnp')}`);
  await page.locator('.story').getByText('x\\u202egnp', { exact: true }).waitFor();
  // Also where nothing answers to such names.
  for (const view of ['provider?name=', 'trail?client=', 'tail?topic=', 'trail?hook=']) {
    await page.goto(`${url}/#${view}${encodeURIComponent(fake.hostile)}`);
    await page.waitForFunction(() => [...document.querySelectorAll('.view')].some((v) => !v.hidden));
  }
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.equal(await page.locator('img').count(), 0);
  // The policy would stop what came through.
  assert.equal(await page.evaluate(() => new Promise((done) => {
    document.addEventListener('securitypolicyviolation', () => done('stopped'));
    const s = document.createElement('script');
    s.textContent = 'window.pwned = 1';
    document.body.append(s);
  })), 'stopped');
});

on('the keyboard alone is enough', { before: () => happen('subscribe', 'meter-18') }, async (page) => {
  await page.getByRole('button', { name: 'Disable presence' }).waitFor();
  const focus = () => page.evaluate(() => {
    const el = document.activeElement;
    const outline = getComputedStyle(el);
    return { text: (el.getAttribute('aria-label') || el.textContent || el.id).trim(), id: el.id, seen: el.matches(':focus-visible') && outline.outlineStyle !== 'none' };
  });
  const tabTo = async (text) => {
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press('Tab');
      const f = await focus();
      if (f.text === text || f.id === text) {
        assert.ok(f.seen, `the focus on ${text} is not to be seen`);
        return;
      }
    }
    assert.fail(`Tab never comes to ${text}`);
  };
  await tabTo('Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal((await focus()).id, 'main');

  // The focus stays where it is while the page renews itself.
  await tabTo('Disable presence');
  await page.waitForResponse('**/v1/status');
  await page.waitForResponse('**/v1/status');
  assert.equal((await focus()).text, 'Disable presence');

  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.equal((await focus()).text, 'Cancel');
  for (let i = 0; i < 6; i++) { // it does not leave the dialog, but for the browser's own
    await page.keyboard.press('Tab');
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null));
  }
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal((await focus()).text, 'Disable presence');

  await page.reload();
  await page.getByRole('button', { name: 'Disable presence' }).waitFor();
  await tabTo('ask-client');
  await page.keyboard.type('meter-18');
  await page.keyboard.press('Enter');
  await page.locator('.story').first().waitFor();
  await page.waitForFunction(() => document.activeElement.id === 'trail-title');
  const summary = page.locator('.decision summary').first();
  await summary.focus();
  await page.keyboard.press('Enter');
  await page.locator('.story').first().waitFor({ state: 'hidden' });
  await page.goto(`${url}/#tail`);
  await page.getByText('Following.').waitFor();
  await tabTo('Pause');
  await page.keyboard.press('Space');
  await page.getByText('Paused.').waitFor();
});

on('one logs in, and out', { loggedIn: false, hash: '#trail?client=meter-17', allow: /401/ }, async (page) => {
  const field = page.getByLabel('Token');
  await field.waitFor();
  await accessible(page, 'login');
  await field.fill('not the token at all');
  await page.keyboard.press('Enter');
  await page.getByText('This is not the token.').waitFor();
  await field.fill(token);
  await page.keyboard.press('Enter');
  // One gets where one wanted to go.
  await page.getByRole('heading', { level: 1, name: 'Decisions' }).waitFor();
  assert.equal(await page.locator('#trail-form').getByLabel('Client id').inputValue(), 'meter-17');
  assert.equal(await page.evaluate(() => document.cookie), '', 'a script can read the session');
  await page.getByRole('button', { name: 'Log out' }).click();
  await field.waitFor();
  await page.reload();
  await field.waitFor();
});

test('on a narrow page nothing is cut off, in any state', async () => {
  for (const [name, state] of [['real'], ['empty', fake.empty], ['busy', fake.busy]]) {
    for (const viewport of state === fake.busy ? [narrow, wide] : [narrow]) {
      const { page, close } = await open(browser, { viewport, before: state && ((p) => fake.serve(p, state)) });
      for (const [hash, there] of [['overview', '#brokers > *'], ['hooks', '#hooks > *'], ['trail', '#trail > *'], ['tail', '#tail-note'], [`provider?name=${state ? 'login' : 'accounts'}`, '#provider > *']]) {
        await page.goto(`${url}/#${hash}`);
        await page.locator(there).first().waitFor({ state: 'attached' });
        assert.equal(await overflow(page), 0, `${name}, ${hash}, ${viewport.width} px: wider than its window`);
      }
      await close();
    }
  }
});

test('axe finds nothing serious, light and dark', async () => {
  // What depends on the colours, in both; the rest, once.
  for (const [scheme, rules] of [['light'], ['dark', ['color-contrast']]]) {
    const { page, close } = await open(browser, { scheme, before: (p) => fake.serve(p, fake.busy) });
    for (const [hash, there] of [['overview', '#brokers table'], ['hooks', '.hook'], ['trail?client=' + encodeURIComponent(fake.hostile), '.story'], ['tail', '#tail tr'], ['provider?name=login', '.facts']]) {
      await page.goto(`${url}/#${hash}`);
      await page.locator(there).first().waitFor();
      await accessible(page, `${hash}, ${scheme}`, rules);
    }
    await page.goto(`${url}/#overview`);
    await page.getByRole('button', { name: 'Disable login' }).click();
    await page.getByRole('dialog').waitFor();
    await accessible(page, `the dialog, ${scheme}`, rules);
    await close();
  }
});

on('left open, it does not grow', {
  before: async (page) => {
    await fake.serve(page, fake.busy);
    await page.clock.install();
  },
}, async (page) => {
  const polls = async (n) => {
    for (let i = 0; i < n; i++) {
      const polled = page.waitForResponse('**/metrics');
      await page.clock.runFor(2000);
      await polled;
    }
    return page.evaluate(() => document.querySelectorAll('*').length);
  };
  await page.locator('#brokers table').waitFor();
  assert.equal(await polls(10), await polls(20));
});

on('the theme is kept', {}, async (page) => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByLabel('Colours').selectOption('dark');
  assert.notEqual(await background(), light);
  const dark = await background();
  await page.reload();
  assert.equal(await background(), dark);
});

on('a hidden page asks nothing', {}, async (page) => {
  await page.locator('#brokers > *').first().waitFor();
  let asked = 0;
  page.on('request', () => asked++);
  await page.clock.install();
  await hide(page, true);
  await page.clock.runFor(60_000);
  const before = asked; // one may have been under way
  await page.clock.runFor(60_000);
  assert.equal(asked, before);
  const next = page.waitForRequest('**/v1/status');
  await hide(page, false);
  await next;
});

// As the last: it has hookmux away for a while, and a new one does not know the session.
on('hookmux goes away, and comes back', { allow: /ERR_|401/ }, async (page) => {
  await page.locator('#brokers > *').first().waitFor();
  await happen('stop');
  const banner = page.getByRole('alert').filter({ hasText: 'hookmux does not answer' });
  await banner.waitFor();
  assert.match(await banner.innerText(), /What you see is of \d\d:\d\d:\d\d/);
  await page.getByRole('rowheader', { name: 'gate' }).waitFor(); // it is still to be seen
  const tried = page.waitForRequest('**/v1/status');
  await banner.getByRole('button', { name: 'Try now' }).click();
  await tried;
  await happen('start');
  // It notices by itself.
  await page.getByLabel('Token').fill(token);
  await page.keyboard.press('Enter');
  await page.getByRole('rowheader', { name: 'gate' }).waitFor();
  assert.ok(await page.locator('#banner').isHidden());
});
