// A moderator's day at the desk, in a real browser against the real service: from the link of the first start to the
// signing out, on a large screen and a small one, in the light and in the dark; and nothing that visitors write ever runs.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { DESKTOP, findings, PHONE, visitor } from './desk-help.mjs';
import { browser, start, testdata } from './service.mjs';

const PASSWORD = 'four words are enough here';
let service, chromium, grace;
/** The key of the second factor, once there is one. */
let secret = '';

before(async () => {
  service = await start();
  chromium = await browser();
});
after(async () => {
  await chromium?.close();
  await service?.stop();
});

/** A code as an app shows it (RFC 6238): of this half minute, or so many later. */
function code(later = 0) {
  const bits = [...secret.replace(/[\s=]/g, '')].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const mac = createHmac('sha1', key).update(step).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

async function fill(articles, count, beginning = '') {
  for (let n = 0; n < count; n += 1) {
    const body = `${beginning}Comment number ${n}, which *waits*. ${n % 10 === 3 ? 'Mangoes for sale' : ''}`;
    const answer = await service.submit({ article: `/${articles}/${n % 5}`, article_title: 'An article', name: `Author ${n % 7}`, email: `a${n % 7}@example.org`, body });
    assert.equal(answer.status, 202);
  }
}

/** Asks the service itself, with the moderator's token. */
const asked = async (path) => (await fetch(`${service.url}/api/v1/moderation${path}`, { headers: { authorization: `Bearer ${service.token}` } })).json();
const counts = async () => (await asked('/summary')).counts;

/** Waits until something is so. */
async function until(what, work) {
  for (let tries = 0; tries < 150; tries += 1) {
    if (await work()) return;
    await new Promise((ready) => setTimeout(ready, 100));
  }
  assert.fail(`it never came to be that ${what}`);
}

const rows = (page) => page.locator('.row button');
/** When everything that was asked for has come. */
const ready = (page) => page.waitForFunction(() => document.querySelector('main h1') && !document.querySelector('[aria-busy=true]') && !document.querySelector('main .loading'));

async function open(page, path) {
  await page.goto(`${service.url}/admin/#/${path}`);
  await ready(page);
}

test('the link of the first start leads to an account with a second factor', { timeout: 120_000 }, async () => {
  grace = await visitor(chromium, service);
  const { page, deeds } = grace;
  await page.goto(service.setup());
  await page.getByRole('heading', { name: 'Set up Afterword' }).waitFor();
  assert.deepEqual(await findings(page), []);
  await page.getByLabel('Email').fill('grace@example.org');
  await page.getByLabel('Name').fill('Grace');
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Save and sign in' }).click();
  await page.getByText('Nothing waits.').first().waitFor();
  await open(page, 'me');
  await page.locator('form').filter({ hasText: 'Set it up' }).getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Set it up' }).click();
  secret = await page.locator('.page code').innerText();
  await page.getByRole('img', { name: 'QR code for your app' }).waitFor();
  await page.locator('input[name=code]').fill(code());
  await page.getByRole('button', { name: 'Switch it on' }).click();
  const codes = await page.locator('.secret pre').innerText();
  assert.ok(codes.split('\n').length >= 8, codes);
  await page.getByRole('button', { name: 'Sign out' }).first().click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.deepEqual(await findings(page), []);
  // The link is used up.
  await page.goto(service.setup());
  await page.reload();
  await page.getByRole('heading', { name: 'This link is not valid' }).waitFor();
  assert.deepEqual(deeds.splice(0), []);
});

test('signing in asks for the code', { timeout: 60_000 }, async () => {
  const { page, deeds } = grace;
  await open(page, 'queue');
  await page.getByLabel('Email').fill('grace@example.org');
  await page.getByLabel('Password').fill('not this one at all');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('input[name=code]').fill(code(1));
  assert.deepEqual(await findings(page), []);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Nothing waits.').first().waitFor();
  assert.deepEqual(deeds.splice(0), []);
});

test('a queue of 200 fills while one looks, and 50 are decided by keyboard', { timeout: 300_000 }, async () => {
  const { page, deeds } = grace;
  await fill('day', 200);
  await until('200 wait', async () => (await page.locator('.top .waiting').innerText()).includes('200 wait'));
  await page.keyboard.press('n');
  await ready(page);
  await rows(page).first().waitFor();
  const keys = ['a', 'a', 'r', 's', 'a'];
  for (let n = 0; n < 50; n += 1) await page.keyboard.press(keys[n % 5]);
  await until('150 wait', async () => (await counts()).pending === 150);
  assert.deepEqual(await counts(), { pending: 150, approved: 30, rejected: 10, spam: 10 });
  await until('the page knows', async () => (await page.locator('.top .waiting').innerText()).includes('150 wait'));
  assert.deepEqual(deeds.splice(0), []);
});

test('several at once, and undo by key and by button', { timeout: 120_000 }, async () => {
  const { page } = grace;
  for (let n = 0; n < 5; n += 1) {
    await page.keyboard.press('x');
    await page.keyboard.press('j');
  }
  await until('five are chosen', async () => (await page.locator('.row input:checked').count()) === 5);
  await page.locator('.bulk').getByRole('button', { name: 'Spam' }).click();
  await until('five more are spam', async () => (await counts()).spam === 15);
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click();
  await until('they are taken back', async () => (await counts()).spam === 10);
  await page.keyboard.press('u');
  await until('the decision before is taken back too', async () => (await counts()).pending === 151);
  await page.keyboard.press('a');
  await until('it is decided again', async () => (await counts()).pending === 150);
  assert.deepEqual(grace.deeds.splice(0), []);
});

test('searching stands in the address; a reply approves', { timeout: 120_000 }, async () => {
  const { page } = grace;
  await page.keyboard.press('/');
  await page.keyboard.type('mangoes');
  await page.keyboard.press('Enter');
  await page.waitForURL(/q=mangoes/);
  await ready(page);
  await until('only those are shown', async () => (await rows(page).allInnerTexts()).length === 15 && (await rows(page).allInnerTexts()).every((text) => text.includes('Mangoes')));
  await page.reload();
  await rows(page).first().waitFor();
  await rows(page).first().click();
  const before = (await counts()).approved;
  await page.keyboard.press('c');
  await page.keyboard.type('Please, no selling here. **Thank you.**');
  await page.keyboard.press('Control+Enter');
  await until('comment and reply are public', async () => (await counts()).approved === before + 2);
  await open(page, 'queue');
  await rows(page).first().waitFor();
  await page.keyboard.press('e');
  await page.getByLabel('Text').fill('What it says now');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.locator('.card').getByText('What it says now').waitFor();
  assert.deepEqual(grace.deeds.splice(0), []);
});

test('a rule is tried and saved; an author is blocked, and let in again', { timeout: 120_000 }, async () => {
  const { page } = grace;
  await open(page, 'rules/new');
  await page.getByLabel('Site').selectOption('default');
  await page.getByLabel('Name').fill('Mangoes');
  await page.getByLabel('Values').fill('mangoes');
  await page.getByRole('button', { name: 'Try it' }).click();
  await page.getByRole('heading', { name: 'What would change' }).waitFor();
  assert.deepEqual(await findings(page), []);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('link', { name: 'Mangoes' }).waitFor();
  await open(page, 'queue');
  await rows(page).first().waitFor();
  await page.keyboard.press('b');
  const rules = async () => (await asked('/rules?site=default')).rules.map((rule) => rule.name);
  await until('the rule is the first', async () => /^Blocked: Author/.test((await rules())[0]));
  await page.locator('.toast').getByRole('button', { name: 'Undo' }).click();
  await until('it is gone', async () => !(await rules()).some((name) => name.startsWith('Blocked')));
  assert.deepEqual(grace.deeds.splice(0), []);
});

test('two moderators see each other, and nothing is written over', { timeout: 120_000 }, async () => {
  const { page } = grace;
  await rows(page).nth(3).waitFor();
  const { comments } = await asked('/comments?limit=6');
  // Somebody else decides on a row that stands in the list: it says so at once.
  await service.moderate(`/comments/${comments[1].id}/reject`);
  await page.getByText(/^⚠ .*mod rejected it/).first().waitFor();
  // The page hears of nothing while its stream is cut; its decision on an old version is refused and shown.
  await page.context().route('**/moderation/stream', (route) => route.abort());
  await page.reload();
  await rows(page).first().waitFor();
  await ready(page); // The page may still be asking for the thread around the chosen one.
  const [first] = (await asked('/comments?limit=1')).comments;
  await service.moderate(`/comments/${first.id}/spam`);
  await page.keyboard.press('a');
  await page.getByText(/mod marked it as spam meanwhile/).first().waitFor();
  assert.equal((await asked(`/comments/${first.id}`)).status, 'spam');
  await page.context().unroute('**/moderation/stream');
  const cut = (deed) => deed.includes('moderation/stream') || deed.includes('ERR_FAILED');
  assert.deepEqual(grace.deeds.filter((deed) => !cut(deed)), []);
  grace.deeds.length = 0;
});

const VIEWS = ['queue', 'queue?status=all&sort=newest', 'overview', 'log', 'rules', 'rules/new', 'tokens', 'sites', 'sites/new', 'sites/default', 'accounts', 'accounts/new', 'webhooks', 'webhooks/new', 'outbox', 'me'];

for (const [size, viewport] of [['large', DESKTOP], ['small', PHONE]]) {
  for (const colorScheme of ['light', 'dark']) {
    test(`axe finds nothing on a ${size} screen in the ${colorScheme}`, { timeout: 300_000 }, async () => {
      const state = await grace.context.storageState();
      const { page, deeds, context } = await visitor(chromium, service, { viewport, colorScheme, storageState: state, reducedMotion: 'reduce' });
      const { comments } = await asked('/comments?limit=1');
      for (const view of [...VIEWS, `comment/${comments[0].id}`]) {
        await open(page, view);
        assert.deepEqual(await findings(page), [], view);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= viewport.width, `${view} is ${wide} px wide`);
      }
      await page.keyboard.press('?');
      await page.getByRole('dialog').waitFor();
      assert.deepEqual(await findings(page), [], 'help');
      assert.deepEqual(deeds.splice(0), []);
      await context.close();
    });
  }
}

test('a telephone clears comments with the bar', { timeout: 120_000 }, async () => {
  const { page, deeds, context } = await visitor(chromium, service, { viewport: PHONE, hasTouch: true, isMobile: true, storageState: await grace.context.storageState() });
  await open(page, 'queue');
  const before = await counts();
  await rows(page).first().tap();
  await page.waitForURL(/open=1/);
  const bar = page.getByRole('group', { name: 'Decide' });
  for (const name of ['Approve', 'Reject', 'Spam']) {
    assert.deepEqual(await findings(page), []);
    await bar.getByRole('button', { name }).tap();
  }
  await until('three are decided', async () => (await counts()).pending === before.pending - 3);
  await page.getByRole('link', { name: 'Back to the list' }).tap();
  await rows(page).first().waitFor();
  assert.deepEqual(deeds.splice(0), []);
  await context.close();
});

/** What others wrote to break pages: a share of it, since each takes a moment; with EVERY=1 all of it. */
function payloads() {
  if (!existsSync(testdata)) {
    assert.ok(!process.env.CI, 'in CI the test data must be there');
    console.error('NOT CHECKED: there is no ../shared/testdata beside this checkout');
    return ['<script>alert(1)</script>', '<img src=https://evil.example/x onerror=alert(1)>', '"><svg onload=alert(1)>'];
  }
  const list = (file) => JSON.parse(readFileSync(join(testdata, file), 'utf8'));
  const all = [...list('xss/payloads.json'), ...list('xss/dompurify_expect.json')].map((entry) => entry.payload);
  return all.filter((_, n) => process.env.EVERY || n % 15 === 0);
}

test('what visitors write lies still in every view', { timeout: 600_000 }, async () => {
  const { page, deeds } = grace;
  await open(page, 'queue?sort=newest');
  let sent = 0;
  for (const [n, payload] of payloads().entries()) {
    const plain = { article: `/xss/${n}`, name: `Eve ${n}`, email: 'eve@example.org', body: `number ${n}` };
    const hostile = { name: payload, body: payload, website: payload, article_title: payload, article: payload };
    let answer = await service.submit({ ...plain, ...hostile });
    if (answer.status === 422) {
      for (const fault of (await answer.json()).errors) delete hostile[fault.field];
      answer = await service.submit({ ...plain, ...hostile });
    }
    assert.ok([202, 409].includes(answer.status), `${answer.status} for ${payload}`);
    sent += answer.status === 202 ? 1 : 0;
  }
  await page.keyboard.press('n');
  await ready(page);
  let seen = 0;
  const drawn = () => page.evaluate(() => document.querySelectorAll('#desk script, #desk iframe, #desk object, #desk :is(img, svg):not([src*="/avatars/"], .picture svg), #desk [onerror]').length);
  for (; seen < sent; seen += 1) {
    await page.keyboard.press('j');
    if (seen % 25 === 0) {
      assert.equal(await drawn(), 0);
    }
  }
  // Names stand in the log's neighbours as well: a rule, a token, a reason.
  const [hostile] = (await asked('/comments?sort=newest&limit=1')).comments;
  await service.moderate(`/comments/${hostile.id}/reject`, { reason: '<img src=x onerror=alert(1)><script>alert(2)</script>' });
  for (const view of [...VIEWS, `comment/${hostile.id}`]) await open(page, view);
  assert.deepEqual(deeds.splice(0), []);
});

test('what readers report stands beside the comment, in their words', { timeout: 60_000 }, async () => {
  const { page, deeds } = grace;
  const { comment } = await (await service.submit({ article: '/reported', name: 'Rude', email: 'rude@example.org', body: 'You are all wrong.' })).json();
  await service.moderate(`/comments/${comment.id}/approve`);
  const flag = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ reason: 'abuse', note: 'He <b>insults</b> us.' }) };
  assert.equal((await fetch(`${service.url}/api/v1/comments/${comment.id}/flags`, flag)).status, 202);
  await open(page, `comment/${comment.id}`);
  const said = page.locator('section').filter({ has: page.getByRole('heading', { name: 'What readers report' }) });
  await said.getByText('He <b>insults</b> us.').waitFor();
  assert.match(await said.innerText(), /Insulting or harmful/);
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(deeds.splice(0), []);
});

test('signing out shuts the door', { timeout: 60_000 }, async () => {
  const { page } = grace;
  await fill('evening', 2);
  await open(page, 'queue');
  await rows(page).first().waitFor();
  const known = () => page.evaluate(async () => (await import('/admin/queue.js')).queue.get().rows.map((row) => row.id));
  const [gone] = await known();
  // What can still be taken back is carried out before the session ends: the next one may be somebody else's.
  await page.evaluate(async (id) => {
    const [{ queue }, { removeForGood }] = await Promise.all([import('/admin/queue.js'), import('/admin/decide.js')]);
    removeForGood(queue.get().rows.find((row) => row.id === id));
  }, gone);
  await page.getByRole('button', { name: 'Sign out' }).first().click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await until('nothing of the queue is left in the page', async () => (await known().catch(() => ['loading'])).length === 0);
  assert.equal((await asked(`/comments/${gone}`)).code, 'not_found');
  await page.goto(`${service.url}/admin/#/log`);
  await page.reload();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.deepEqual(grace.deeds.splice(0), []);
  await grace.context.close();
});
