// The widget in a real browser: a visitor's day, on the demo and on a page of another origin that forbids everything it can;
// small and large, light, dark and from right to left; and everything that hostile visitors write.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { browser, root, start, testdata } from './service.mjs';

const axe = readFileSync(createRequire(join(root, 'target/browser/')).resolve('axe-core/axe.min.js'), 'utf8');

let service, chromium, host;
before(async () => {
  service = await start({ administrator: true });
  chromium = await browser();
  host = await blog();
  await service.admin('PATCH', '/api/v1/sites/default', { origins: [host.url] });
});
after(async () => {
  await chromium?.close();
  host?.server.close();
  await service?.stop();
});

/** The rules that pages are told to have until the script is there. (Lines have a height of their own in the page, as in most
 *  blogs: else the same text in another font is a pixel higher.) */
const [, placeholders] = readFileSync(join(root, 'docs/embed/README.md'), 'utf8').match(/```css\n(.*?)```/s);

/** A blog of another origin, as strict as pages can be. */
async function blog() {
  const server = createServer((request, response) => {
    if (request.url === '/favicon.ico') return response.writeHead(204).end();
    if (request.url === '/page.css') return response.writeHead(200, { 'content-type': 'text/css' }).end(`body { line-height: 1.5; }\n${placeholders}`);
    const address = new URL(request.url, 'http://blog');
    const article = address.searchParams.get('article') ?? 'strict';
    const attributes = address.searchParams.get('attributes') ?? '';
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.setHeader('content-security-policy',
      `default-src 'none'; script-src ${service.url}; connect-src ${service.url}; img-src ${service.url}; style-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'`);
    response.end(`<!doctype html><html ${attributes}><head><title>A strict page</title><meta name="viewport" content="width=device-width">
      <link rel="stylesheet" href="/page.css"><script type="module" src="${service.url}/embed.js"></script></head>
      <body><main><h1>A strict page</h1><p>Text.</p>
      ${'<p><afterword-count article="counted"></afterword-count></p><p><afterword-count article="none" format="number"></afterword-count></p>'.repeat(3)}
      <afterword-comments site="default" article="${article}"><p slot="policy">Be kind.</p></afterword-comments></main></body></html>`);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

/** A page in a context of its own, with everything that it must not do. */
async function open(address, options = {}) {
  const context = await chromium.newContext({ viewport: { width: 1000, height: 800 }, ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const deeds = [];
  await context.addInitScript(() => {
    for (const name of ['alert', 'prompt', 'confirm', 'print', 'open']) window[name] = () => console.log(`ran ${name}`);
    window.shifts = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => { if (!entry.hadRecentInput) window.shifts += entry.value; })).observe({ type: 'layout-shift', buffered: true });
    window.told = [];
    for (const name of ['loaded', 'submitted', 'published', 'edited', 'deleted', 'voted', 'reacted', 'flagged', 'error']) {
      document.addEventListener(`afterword:${name}`, (event) => window.told.push(`${name} ${event.detail.code ?? event.detail.status ?? ''}`.trim()));
    }
  });
  page.on('request', (request) => {
    const from = request.url();
    if (!from.startsWith(service.url + '/') && !from.startsWith(host.url + '/')) deeds.push(`asked for ${from}`);
  });
  // What a server refuses, Chromium writes into the console; so it does when a test takes the network away.
  const expected = /the server responded with a status of (422|429|409)|net::ERR_(FAILED|INTERNET_DISCONNECTED|ABORTED)/;
  page.on('console', (message) => expected.test(message.text()) || deeds.push(`console ${message.text()}`));
  page.on('pageerror', (error) => deeds.push(`error ${error.stack}`));
  page.on('dialog', (dialog) => { deeds.push('a dialog'); return dialog.dismiss(); });
  await page.goto(address);
  await page.locator('afterword-comments:not([aria-busy])').waitFor({ state: 'attached' });
  const close = async () => {
    assert.deepEqual(deeds, []);
    await context.close();
  };
  return { page, context, deeds, close };
}

const toForm = async (page) => {
  await page.locator('afterword-comments').evaluate((element) => element.scrollIntoView({ block: 'end' }));
  await page.locator('.end textarea').waitFor();
};

async function fill(page, body, form = '.end') {
  await page.locator(`${form} [name=name]`).fill('Ada Lovelace');
  await page.locator(`${form} [name=email]`).fill('ada@example.org');
  await page.locator(`${form} [name=body]`).fill(body);
}

const accessible = async (page) => {
  const { violations } = await page.evaluate(`${axe}; axe.run(document, { rules: { 'region': { enabled: false } } })`);
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`), []);
};

const told = (page) => page.evaluate('window.told');

async function publish(article, name, body, parent_id, more = {}) {
  const answer = await service.submit({ article, name, email: 'x@example.org', body, parent_id, ...more });
  const { comment } = await answer.json();
  assert.ok(comment, `${answer.status}`);
  assert.equal((await service.moderate(`/comments/${comment.id}/approve`)).status, 200);
  return comment.id;
}

const pages = () => [['the demo', `${service.url}/demo/`, 'demo'], ['a strict page of another origin', `${host.url}/`, 'strict']];

test('a visitor reads, writes with errors first, changes and deletes', { timeout: 240_000 }, async () => {
  for (const [name, address, article] of pages()) {
    const { page, close } = await open(address);
    await toForm(page);
    assert.match(await page.locator('h2#title').innerText(), /comment/, name);
    await page.locator('.submit').click();
    await page.locator('.fault:visible').first().waitFor();
    assert.equal(await page.locator('.fault:visible').count(), 3);
    assert.equal(await page.evaluate(() => document.querySelector('afterword-comments').shadowRoot.activeElement.name), 'name');
    assert.equal(await page.locator('.end [name=name]').getAttribute('aria-describedby'), 'name-end-fault');
    await fill(page, `A **strong** word on ${name}.`);
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.locator('.end .body strong').waitFor();
    await page.reload();
    await toForm(page);
    assert.equal(await page.locator('.end textarea').inputValue(), `A **strong** word on ${name}.`, 'the draft is kept');
    await page.locator('.submit').click();
    await page.locator('.waits').waitFor();
    assert.match(await page.locator('.end .status').innerText(), /only you can see it here/);
    await page.reload();
    await page.locator('.waits').waitFor();
    const other = await open(address);
    assert.equal(await other.page.locator('.waits').count(), 0, 'only this device shows it');
    await other.close();
    await page.locator('.waits').getByRole('button', { name: 'Edit' }).click();
    await page.locator('.waits textarea').fill(`Changed on ${name}.`);
    await page.getByRole('button', { name: 'Save' }).click();
    await page.locator('.waits .body', { hasText: 'Changed' }).waitFor();
    await page.locator('.waits').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.locator('.waits .body', { hasText: 'Changed' }).waitFor();
    await page.locator('.waits').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('button', { name: 'Undo' }).waitFor();
    await page.goto('about:blank');
    const left = async () => (await service.moderated(`/comments?status=all&article=${article}`)).comments.length;
    for (let tries = 0; tries < 100 && (await left()); tries += 1) await wait(100);
    assert.equal(await left(), 0, `deleted when the page was left: ${article}`);
    await close();
  }
});

test('without a connection the text waits, and is taken once', { timeout: 120_000 }, async () => {
  const { page, context, close } = await open(`${host.url}/?article=offline`);
  await toForm(page);
  await fill(page, 'From a tunnel.');
  const keys = [];
  page.on('request', (request) => request.method() === 'POST' && keys.push(request.headers()['idempotency-key']));
  // The service takes it, but the answer is lost.
  let lost = 0;
  await context.route('**/comments', async (route) => {
    if (route.request().method() !== 'POST' || lost) return route.continue();
    lost += 1;
    await route.fetch();
    return route.abort();
  });
  await page.locator('.submit').click();
  await page.locator('.status.bad').waitFor();
  await page.locator('.waits').waitFor();
  assert.equal(new Set(keys).size, 1, 'the same key');
  assert.equal(keys.length, 2);
  assert.deepEqual(await told(page), ['loaded', 'error offline', 'submitted pending']);
  const found = await service.moderated('/comments?status=all&article=offline');
  assert.equal(found.comments.length, 1);
  await close();
});

test('answers, votes, reactions, reports; and what others write arrives', { timeout: 240_000 }, async () => {
  for (const [name, address, article] of pages()) {
    const first = await publish(article, 'Grace', 'The first.');
    const { page, close } = await open(address);
    await toForm(page);
    const comment = page.locator(`[id="afterword-${first}"]`);
    await comment.getByRole('button', { name: /Good comment/ }).click();
    await comment.locator('.vote[aria-pressed=true]', { hasText: '1' }).waitFor();
    await page.getByRole('button', { name: /Like/ }).click();
    await page.locator('.liked [aria-pressed=true]', { hasText: '1' }).waitFor();
    await comment.getByRole('button', { name: 'Report' }).click();
    await comment.getByRole('button', { name: 'Send' }).click();
    await comment.getByText('A moderator will look at it').waitFor();
    await comment.getByRole('button', { name: 'Reply to Grace' }).click();
    await fill(page, 'An answer.', `[id="afterword-${first}"]`);
    await comment.locator('.submit').click();
    await page.locator('.waits').waitFor();
    assert.equal(await page.locator('.waits').evaluate((item) => item.previousElementSibling.id), `afterword-${first}`, 'under its parent');
    const before = await page.locator('li.item').count();
    await publish(article, 'Linus', `Live on ${name}.`);
    await page.getByRole('button', { name: /1 new comment/ }).click();
    await page.getByText(`Live on ${name}.`).waitFor();
    assert.equal(await page.locator('li.item').count(), before + 1);
    const events = await told(page);
    for (const event of ['voted', 'reacted', 'flagged', 'submitted pending', 'published']) assert.ok(events.includes(event), `${event} in ${events}`);
    assert.equal(await page.evaluate('window.shifts'), 0, 'nothing moved by itself');
    await close();
  }
});

test('a permalink leads into page 7, and replies fold', { timeout: 240_000 }, async () => {
  const ids = [];
  for (let n = 0; n < 330; n += 1) ids.push(await publish('long', 'Many', `Comment number ${n}.`));
  const { page, close } = await open(`${service.url}/demo/`);
  await close();
  const there = await open(`${host.url}/?article=long#afterword-${ids[315]}`);
  const named = there.page.locator('.named');
  await named.waitFor();
  assert.match(await named.innerText(), /Comment number 315/);
  assert.ok(await named.evaluate((item) => item.getBoundingClientRect().top < innerHeight));
  await there.page.getByRole('button', { name: 'Show all comments' }).click();
  await there.page.getByText('Comment number 0.').waitFor();
  await there.page.getByRole('button', { name: 'Show more comments' }).click();
  await there.page.getByText('Comment number 99.').waitFor();
  await there.page.getByRole('button', { name: 'Newest' }).click();
  await there.page.getByText('Comment number 329.').waitFor();
  await there.close();
});

test('who is limited sees the seconds', { timeout: 120_000 }, async () => {
  const { page, context, close } = await open(`${host.url}/?article=limited`);
  await toForm(page);
  await fill(page, 'Too fast.');
  const problem = { status: 429, contentType: 'application/problem+json', headers: { 'Retry-After': '2', 'Access-Control-Allow-Origin': host.url, 'Access-Control-Expose-Headers': 'Retry-After' }, body: '{"code":"rate_limited"}' };
  await context.route('**/comments', (route) => (route.request().method() === 'POST' ? route.fulfill(problem) : route.continue()));
  await page.locator('.submit').click();
  await page.getByText(/Please wait [12] second/).waitFor();
  assert.equal(await page.locator('.submit').getAttribute('aria-disabled'), 'true');
  await page.getByText('You can send it now.').waitFor();
  await context.unroute('**/comments');
  await page.locator('.submit').click();
  await page.locator('.waits').waitFor();
  await close();
});

test('small and large, light, dark, from right to left: accessible, nothing sticks out, nothing moves', { timeout: 240_000 }, async () => {
  const a = await publish('looks', 'علي', 'جرّبتها أيضا', undefined, { website: 'https://example.org' });
  let above = a;
  for (const n of [1, 2, 3, 4]) above = await publish('looks', `Reader ${n}`, `Level ${n}, with \`code\`.\n\n> and a quote\n\n\`\`\`\n${'long '.repeat(40)}\n\`\`\``, above);
  for (const [attributes, options] of [
    ['lang="en"', { colorScheme: 'light' }],
    ['lang="en"', { viewport: { width: 320, height: 640 } }],
    ['lang="ar" dir="rtl"', { viewport: { width: 320, height: 640 } }],
    ['lang="ar" dir="rtl"', {}], ['lang="ja"', {}], ['lang="de"', {}], ['lang="fr"', {}], ['lang="es"', {}],
  ]) {
    const { page, close } = await open(`${host.url}/?article=looks&attributes=${encodeURIComponent(attributes)}`, options);
    // Who comes to the form has seen the list: whoever jumps to the end while it is still loading sees it settle.
    await page.locator('.item').first().waitFor();
    await page.waitForTimeout(300);
    await toForm(page);
    // Before the click: what moves after it is an answer to it, and Chromium does not always count it as one.
    await page.evaluate(() => new Promise((painted) => { requestAnimationFrame(() => setTimeout(painted, 100)); }));
    assert.equal(await page.evaluate('window.shifts'), 0, attributes);
    await page.locator('.submit').click();
    await page.locator('.fault:visible').first().waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${attributes} sticks out`);
    await accessible(page);
    await close();
  }
  for (const colorScheme of ['light', 'dark']) {
    const { page, close } = await open(`${service.url}/demo/`, { colorScheme });
    await toForm(page);
    await page.locator('afterword-recent li').first().waitFor();
    await accessible(page);
    assert.equal(await page.evaluate('window.shifts'), 0, colorScheme);
    await close();
  }
});

test('all counts of a page come in one request; a slot has our words replaced', { timeout: 60_000 }, async () => {
  await publish('counted', 'Ada', 'One.');
  const asked = [];
  const context = await chromium.newContext();
  context.on('request', (request) => request.url().includes('/counts?') && asked.push(request.url()));
  const page = await context.newPage();
  await page.goto(`${host.url}/?article=counting`);
  await page.locator('afterword-count', { hasText: '1 comment' }).nth(2).waitFor();
  assert.deepEqual(await page.locator('afterword-count').allInnerTexts(), ['1 comment', '0', '1 comment', '0', '1 comment', '0']);
  assert.equal(asked.length, 1, asked.join(' '));
  await toForm(page);
  assert.ok(await page.getByText('Be kind.').isVisible());
  assert.ok(!(await page.getByText('will not be published').isVisible()));
  await context.close();
});

test('without script the demo has its form', { timeout: 60_000 }, async () => {
  const context = await chromium.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${service.url}/demo/`);
  await page.locator('#plain-name').fill('Plain');
  await page.locator('#plain-email').fill('plain@example.org');
  await page.locator('#plain-body').fill('Without script.');
  await page.getByRole('button', { name: 'Submit comment' }).click();
  await page.getByRole('heading', { name: 'Thank you' }).waitFor();
  await context.close();
});

test('the types of the widget hold', { timeout: 120_000 }, () => {
  const tsc = join(root, 'target/browser/node_modules/typescript/bin/tsc');
  const parts = readdirSync(join(root, 'web/embed'), { recursive: true }).filter((name) => name.endsWith('.js')).map((name) => `web/embed/${name}`);
  const options = ['--noEmit', '--checkJs', '--allowJs', '--strict', '--target', 'es2022', '--module', 'es2022', '--moduleResolution', 'bundler', '--lib', 'es2022,dom,dom.iterable'];
  const done = spawnSync(process.execPath, [tsc, ...options, 'web/embed.js', ...parts], { cwd: root, encoding: 'utf8' });
  assert.equal(done.stdout, '');
  assert.equal(done.status, 0, done.stderr);
});

test('every language says everything', async () => {
  const load = (name) => import(join(root, `web/embed/language/${name}.js`));
  const all = Object.keys({ ...(await load('en')).english, ...(await load('en-forms')).forms }).sort();
  for (const name of ['ar', 'de', 'es', 'fr', 'ja']) assert.deepEqual(Object.keys((await load(name)).texts).sort(), all, name);
});

/** What hostile visitors type: every sixth payload, or all of them with ALL=1 in the environment; that takes long. */
function hostile() {
  if (!existsSync(testdata)) {
    assert.ok(!process.env.CI, 'in CI the test data must be there');
    console.error('NOT CHECKED: there is no ../shared/testdata beside this checkout');
    return ['<script>alert(1)</script>', '<img src=https://evil.example/x onerror=alert(1)>', '[x](javascript:alert(1))'];
  }
  const list = (file) => JSON.parse(readFileSync(join(testdata, file), 'utf8'));
  const share = process.env.ALL ? 1 : 6;
  return [...list('xss/payloads.json').map(({ payload }) => payload).filter((_, n) => n % share === 0), ...list('xss/dompurify_expect.json').map(({ payload }) => payload), ...list('naughty/blns.json')].filter((text) => text.trim());
}

test('whatever visitors write lies still in the widget', { timeout: 900_000 }, async () => {
  const texts = hostile();
  let shown = 0;
  for (let at = 0; at < texts.length; at += 100) {
    const article = `hostile-${at}`;
    await Promise.all(texts.slice(at, at + 100).map(async (text, n) => {
      const body = [...text].slice(0, 9000).join('');
      const tries = [{ name: [...text].slice(0, 100).join(''), website: text.slice(0, 200) }, { name: [...text].slice(0, 100).join('') }, { website: text.slice(0, 200) }, {}];
      for (const more of tries) {
        const answer = await service.submit({ article, name: `Visitor ${n}`, email: 'x@example.org', body, article_title: text.slice(0, 200), ...more });
        if (answer.status === 422) continue;
        const { comment } = await answer.json();
        if (comment) await service.moderate(`/comments/${comment.id}/approve`);
        return;
      }
    }));
    const { page, close } = await open(`${host.url}/?article=${article}`);
    while (await page.getByRole('button', { name: 'Show more comments' }).count()) {
      const before = await page.locator('li.item').count();
      await page.getByRole('button', { name: 'Show more comments' }).click();
      await page.waitForFunction((n) => document.querySelector('afterword-comments').shadowRoot.querySelectorAll('li.item').length > n, before);
    }
    shown += await page.locator('li.item').count();
    await close();
  }
  assert.ok(shown > texts.length / 2, `${shown} of ${texts.length} were shown`);
  console.error(`hostile texts: ${texts.length} sent, ${shown} shown`);
});
