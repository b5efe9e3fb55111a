// Mails and the pages behind their links in a real browser, with script and without: whatever visitors write, nothing runs,
// nothing is loaded from elsewhere, and looking decides nothing; the button does.
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

/** A share of the payloads: opening each takes a moment; tests/api/http/hostile.rs reads them all. */
function payloads() {
  if (!existsSync(testdata)) {
    assert.ok(!process.env.CI, 'in CI the test data must be there');
    console.error('NOT CHECKED: there is no ../shared/testdata beside this checkout');
    return ['<script>alert(1)</script>', '<img src=https://evil.example/x onerror=alert(1)>', '"><svg onload=alert(1)>'];
  }
  const list = (file) => JSON.parse(readFileSync(join(testdata, file), 'utf8'));
  const xss = list('xss/payloads.json').map((entry) => entry.payload).filter((_, n) => n % 60 === 0);
  return [...xss, ...list('xss/dompurify_expect.json').map((entry) => entry.payload).filter((_, n) => n % 4 === 0), ...list('naughty/blns.json').filter((_, n) => n % 10 === 0)];
}

/** Opens pages in a context of their own; returns everything that a page must not do. */
async function watched(options, work) {
  const context = await chromium.newContext(options);
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
  // Chromium says so of the page that came too late, which is as it should be.
  const expected = (text) => text.endsWith('the server responded with a status of 409 (Conflict)');
  page.on('console', (message) => expected(message.text()) || deeds.push(`console ${message.text()}`));
  page.on('pageerror', (error) => deeds.push(`error ${error}`));
  page.on('popup', () => deeds.push('a window'));
  page.on('worker', () => deeds.push('a worker'));
  await work(page);
  await context.close();
  return deeds;
}

test('what visitors write lies still in mails and behind their links', { timeout: 900_000 }, async () => {
  let sent = 0;
  for (const [n, payload] of payloads().entries()) {
    const plain = { article: `/${n}`, name: 'Ada', email: 'ada@example.org', body: `number ${n}` };
    const hostile = { name: payload, body: payload, website: payload, article_title: payload };
    // A field that is refused is left out; the others may be taken.
    let answer = await service.submit({ ...plain, ...hostile });
    if (answer.status === 422) {
      for (const fault of (await answer.json()).errors) delete hostile[fault.field];
      answer = await service.submit({ ...plain, ...hostile });
    }
    assert.ok([202, 409].includes(answer.status), `${answer.status} for ${payload}`);
    sent += answer.status === 202 ? 1 : 0;
  }
  const mails = await service.mails(sent);
  assert.equal(mails.length, sent);
  for (const javaScriptEnabled of [true, false]) {
    const deeds = await watched({ javaScriptEnabled }, async (page) => {
      for (const mail of mails) {
        assert.equal(mail.links.length, 3);
        // A mail program without any defence of its own.
        await page.goto(`${service.url}/healthz`);
        await page.setContent(mail.html);
        const answer = await page.goto(mail.links[0]);
        assert.equal(answer.status(), 200);
      }
    });
    assert.deepEqual(deeds, [], `script ${javaScriptEnabled}`);
  }
  const waiting = await fetch(mails[0].links[0]);
  assert.match(await waiting.text(), /Approve this comment\?/, 'hundreds of looks have decided nothing');
});

test('the button decides without script, and undo takes it back', async () => {
  const before = (await service.mails(0)).length;
  await service.submit({ article: '/button', name: 'Ada', email: 'ada@example.org', body: 'to be pressed' });
  const mail = (await service.mails(before + 1)).find((one) => one.text.includes('to be pressed'));
  const deeds = await watched({ javaScriptEnabled: false }, async (page) => {
    await page.goto(mail.links[0]);
    for (const title of ['The comment is approved', 'Approve this comment?', 'The comment is approved']) {
      await page.click('button');
      assert.equal(await page.textContent('h1'), title);
    }
    await page.reload();
    assert.equal(await page.textContent('h1'), 'The comment is approved');
    await page.goto(mail.links[1]);
    assert.equal(await page.textContent('h1'), 'This link came too late');
    assert.equal(await page.locator('button').count(), 0);
  });
  assert.deepEqual(deeds, []);
});
