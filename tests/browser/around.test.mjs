// The piece of a page with an article's comments and the feed, opened by themselves in a real browser: whatever visitors
// write, nothing runs and nothing is loaded from elsewhere.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { browser, start, testdata } from './service.mjs';

let service, chromium;
before(async () => {
  service = await start();
  chromium = await browser();
});
after(async () => {
  await chromium?.close();
  await service?.stop();
});

/** A share of the payloads: each takes a moment to be stored; tests/api/http/fragment.rs reads them all. */
function payloads() {
  if (!existsSync(testdata)) {
    assert.ok(!process.env.CI, 'in CI the test data must be there');
    console.error('NOT CHECKED: there is no ../shared/testdata beside this checkout');
    return ['<script>alert(1)</script>', '<img src=https://evil.example/x onerror=alert(1)>', '"><svg onload=alert(1)>'];
  }
  const list = (file) => JSON.parse(readFileSync(join(testdata, file), 'utf8'));
  const xss = list('xss/payloads.json').map((entry) => entry.payload).filter((_, n) => n % 6 === 0);
  return [...xss, ...list('xss/dompurify_expect.json').map((entry) => entry.payload), ...list('naughty/blns.json').filter((_, n) => n % 4 === 0)];
}

test('what visitors write lies still in pieces of pages and in feeds', { timeout: 900_000 }, async () => {
  const all = payloads();
  let published = 0;
  for (let first = 0; first < all.length; first += 200) {
    const article = `/${first}`;
    const ids = [];
    await Promise.all(all.slice(first, first + 200).map(async (payload, n) => {
      const plain = { article, name: 'Ada', email: 'ada@example.org', body: `number ${first + n}` };
      const hostile = { name: payload, body: payload, website: payload, article_title: payload };
      let answer = await service.submit({ ...plain, ...hostile });
      if (answer.status === 422) {
        // A field that is refused is left out; the others may be taken.
        for (const fault of (await answer.json()).errors) delete hostile[fault.field];
        answer = await service.submit({ ...plain, ...hostile });
      }
      assert.ok([202, 409].includes(answer.status), `${answer.status} for ${payload}`);
      if (answer.status === 202) ids.push((await answer.json()).comment.id);
    }));
    const decided = await service.moderate('/decisions', { decision: 'approve', ids });
    assert.equal(decided.status, 200);
    published += ids.length;
  }
  assert.ok(published > all.length / 2, `${published}`);
  const context = await chromium.newContext();
  const deeds = [];
  await context.route('**/*', (route) => {
    const address = route.request().url();
    if (address.startsWith(service.url + '/')) return route.continue();
    deeds.push(`asked for ${address}`);
    return route.abort();
  });
  await context.addInitScript(() => {
    for (const name of ['alert', 'prompt', 'confirm', 'eval', 'print', 'open']) window[name] = () => console.log(`ran ${name}`);
  });
  const page = await context.newPage();
  page.on('dialog', (dialog) => { deeds.push(`dialog ${dialog.message()}`); return dialog.dismiss(); });
  // A browser asks for an icon by itself; there is none, and the policy would not let it show one.
  const expected = (text) => text.includes('favicon') || text.includes('status of 404');
  page.on('console', (message) => expected(message.text()) || deeds.push(`console ${message.text()}`));
  page.on('pageerror', (error) => deeds.push(`error ${error}`));
  page.on('popup', () => deeds.push('a window'));
  let shown = 0;
  for (let first = 0; first < all.length; first += 200) {
    const article = encodeURIComponent(`/${first}`);
    // What a browser asks for by itself: it would rather have HTML.
    const answer = await page.goto(`${service.url}/api/v1/sites/default/comments?article=${article}&limit=200`);
    assert.equal(answer.headers()['content-type'], 'text/html; charset=utf-8');
    shown += await page.locator('article').count();
    // Inside a page of the blog, without the policy that it has by itself.
    const inside = await answer.text();
    await page.goto(`${service.url}/healthz`);
    await page.setContent(`<!doctype html><title>A blog</title>${inside}`);
    const opened = await page.goto(`${service.url}/api/v1/sites/default/feed.atom?article=${article}`);
    assert.equal(opened.status(), 200);
  }
  assert.equal(shown, published);
  await context.close();
  assert.deepEqual(deeds, []);
});
