// Pictures of the page in all its states, to be looked at: HOOKMUX_PAGE_SHOTS=FOLDER go
// test ./mux/admin/page. Without the folder there are none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fake from './fake.js';
import { happen, launch, narrow, open, overflow, wide } from './browser.js';

const folder = process.env.HOOKMUX_PAGE_SHOTS;

const shots = [
  ['real', '', null], ['real-hooks', '#hooks', null], ['real-trail', '#trail?client=meter-17', null], ['real-provider', '#provider?name=accounts', null], ['real-tail', '#tail', null],
  ['empty', '', fake.empty], ['empty-hooks', '#hooks', fake.empty], ['well', '', fake.well],
  ['busy', '', fake.busy], ['hooks', '#hooks', fake.busy], ['provider', '#provider?name=login', fake.busy], ['provider-behind', '#provider?name=audit', fake.busy], ['trail', '#trail', fake.busy], ['trail-one', '#trail?client=meter-99', fake.busy],
  ['trail-none', '#trail?client=nobody', fake.busy], ['tail', '#tail', fake.busy], ['dialog', '', fake.busy], ['broken', '', fake.busy], ['login', '', fake.busy],
];

test('pictures', { skip: !folder && 'HOOKMUX_PAGE_SHOTS names no folder' }, async () => {
  const browser = await launch();
  await happen('subscribe', 'meter-17');
  for (const viewport of [wide, narrow]) {
    for (const scheme of ['light', 'dark']) {
      for (const [name, hash, state] of shots) {
        const { page } = await open(browser, {
          viewport, scheme, hash, loggedIn: name !== 'login',
          before: async (p) => {
            if (name !== 'login' && state) await fake.serve(p, state);
            if (state) await p.clock.install();
          },
        });
        await page.locator(name === 'login' ? '#view-login' : '#about:not(:empty)').waitFor();
        if (!state) {
          await happen('crowd', 'meter');
          await page.waitForResponse('**/metrics');
          await page.waitForResponse('**/metrics');
        } else if (name !== 'login') {
          for (let i = 0; i < 20; i++) { // what has happened in 40 s
            const polled = page.waitForResponse('**/metrics');
            await page.clock.runFor(2000);
            await polled;
          }
        }
        if (name === 'dialog') await page.getByRole('button', { name: 'Disable login' }).click();
        if (name === 'broken') {
          await page.route('**/v1/status', (r) => r.abort());
          await page.clock.runFor(2000);
          await page.getByRole('alert').filter({ hasText: 'does not answer' }).waitFor();
        }
        assert.equal(await overflow(page), 0, `${name} is wider than its window`);
        if (viewport === narrow && name !== 'dialog') await page.setViewportSize({ width: narrow.width, height: 1500 });
        await page.screenshot({ path: `${folder}/${name}-${viewport.width}-${scheme}.png`, fullPage: viewport === wide && !/dialog|tail/.test(name) });
        await page.context().close();
      }
    }
  }
  await browser.close();
});
