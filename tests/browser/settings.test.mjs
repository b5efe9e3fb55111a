// What a site decides, as readers see it in the widget: votes, avatars, closing; the way to one's data.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, start } from './service.mjs';

let service, chromium;
before(async () => {
  service = await start({ administrator: true });
  chromium = await browser();
});
after(async () => {
  await chromium?.close();
  await service?.stop();
});

async function publish(body) {
  const { comment } = await (await service.submit({ article: 'demo', name: 'Ada', email: 'ada@example.org', body })).json();
  assert.equal((await service.moderate(`/comments/${comment.id}/approve`)).status, 200);
  return comment.id;
}

const set = async (changes) => assert.equal((await service.admin('PATCH', '/api/v1/sites/default', changes)).status, 200);

/** The demo with its form. */
async function demo() {
  const page = await (await chromium.newContext({ viewport: { width: 900, height: 800 } })).newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`${service.url}/demo/`);
  await page.locator('afterword-comments:not([aria-busy])').waitFor({ state: 'attached' });
  await page.locator('afterword-comments').evaluate((element) => element.scrollIntoView({ block: 'end' }));
  return page;
}

test('the form asks in the order of the contract, and leads to what one wrote', { timeout: 60_000 }, async () => {
  const page = await demo();
  await page.locator('.end textarea').waitFor();
  assert.equal(await page.locator('h2#title').innerText(), '0 comments');
  assert.equal(await page.locator('.end h3').innerText(), 'Submit a comment');
  const text = await page.locator('.end form').innerText();
  const order = ['Submit a comment', 'Name *', 'Email *', 'Your email address will not be published. Required fields are marked *', 'Comment *', 'Website', 'Submit comment'];
  const places = order.map((words) => text.indexOf(words));
  assert.deepEqual(places, [...places].sort((a, b) => a - b), text);
  assert.ok(!places.includes(-1), text);
  assert.equal(await page.getByRole('link', { name: 'Your comments and data' }).getAttribute('href'), `${service.url}/me/default`);
  await page.getByRole('link', { name: 'Your comments and data' }).click();
  await page.getByRole('button', { name: 'Send me the link' }).waitFor();
  await page.context().close();
});

test('no votes are offered where none are taken, and none any longer once they are refused', { timeout: 60_000 }, async () => {
  const id = await publish('One.');
  const before = await demo();
  const vote = before.locator('.vote').first();
  await vote.waitFor();
  await set({ votes: false });
  await vote.click();
  await vote.waitFor({ state: 'hidden' });
  assert.equal(await before.locator(`[id="afterword-${id}"] .status`).count(), 0, 'and no word of a failure');
  await before.context().close();
  const page = await demo();
  await page.locator('li.item').waitFor();
  assert.equal(await page.locator('.vote:visible').count(), 0);
  await page.context().close();
  await set({ votes: true });
  const open = await demo();
  await open.locator('.vote').first().waitFor();
  await set({ read_only: true });
  await open.locator('.vote').first().click();
  await open.locator('.vote').first().waitFor({ state: 'hidden' });
  await set({ read_only: false });
  await open.context().close();
});

test('without avatars there is no place for them', { timeout: 60_000 }, async () => {
  await set({ avatars: 'none' });
  const page = await demo();
  await page.locator('li.item').first().waitFor();
  assert.equal(await page.locator('img').count(), 0);
  const lefts = await page.locator('li.item').first().evaluate((item) => [item, item.querySelector('.by'), item.querySelector('.body')].map((part) => part.getBoundingClientRect().left));
  assert.equal(new Set(lefts).size, 1, lefts.join(' '));
  await set({ avatars: 'generated' });
  await page.context().close();
});

test('what waits has its colour; a read-only site says that it is closed and nothing else', { timeout: 60_000 }, async () => {
  const page = await demo();
  await page.locator('.end [name=name]').fill('Eve');
  await page.locator('.end [name=email]').fill('eve@example.org');
  await page.locator('.end [name=body]').fill('May I?');
  await page.locator('.submit').click();
  const badge = page.locator('.waits .badge');
  await badge.waitFor();
  assert.equal(await badge.evaluate((element) => getComputedStyle(element).color), 'rgb(154, 103, 0)');
  await page.locator('afterword-comments').evaluate((element) => element.style.setProperty('--aw-warn', 'rgb(1, 2, 3)'));
  assert.equal(await badge.evaluate((element) => getComputedStyle(element).color), 'rgb(1, 2, 3)');
  await page.context().close();
  await set({ read_only: true });
  const closed = await (await chromium.newContext()).newPage();
  await closed.route('**/demo/', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: (await answer.text()).replaceAll('article="demo"', 'article="untouched"') });
  });
  await closed.goto(`${service.url}/demo/`);
  await closed.getByText('Comments are closed.').waitFor();
  assert.equal(await closed.getByText('Start the conversation').isVisible(), false);
  await set({ read_only: false });
  await closed.context().close();
});
