// Figures of the desk, to be read and not to be tested: with many comments waiting (the first argument; 10,000 without), how
// long 100 decisions by keyboard take until all are carried out, when something is first painted, and how many bytes the
// page is. Run it with a program that was built for release: AFTERWORD=target/release/afterword node tests/browser/desk-figures.mjs
import { DESKTOP, visitor } from './desk-help.mjs';
import { browser, start } from './service.mjs';

const WAITING = Number(process.argv[2] ?? 10_000);
const service = await start();
const chromium = await browser();
try {
  for (let sent = 0; sent < WAITING; sent += 50) {
    await Promise.all(Array.from({ length: Math.min(50, WAITING - sent) }, (_, n) =>
      service.submit({ article: `/${n}`, name: `Author ${n}`, email: `a${sent + n}@example.org`, body: `Comment ${sent + n}, which waits. ${'It says a little more. '.repeat(n % 8)}` })));
  }
  const { page, deeds } = await visitor(chromium, service, { viewport: DESKTOP });
  let bytes = 0;
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  const files = new Set();
  session.on('Network.responseReceived', ({ requestId, response }) => new URL(response.url).pathname.startsWith('/admin/') && files.add(requestId));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => { if (files.has(requestId)) bytes += encodedDataLength; });
  await page.goto(service.setup());
  await page.getByLabel('Email').fill('grace@example.org');
  await page.getByLabel('Name').fill('Grace');
  await page.getByLabel('New password').fill('four words are enough here');
  await page.getByRole('button', { name: 'Save and sign in' }).click();
  await page.locator('.row').first().waitFor();
  bytes = 0;
  await session.send('Network.setCacheDisabled', { cacheDisabled: true });
  await page.goto(`${service.url}/admin/`);
  await page.reload();
  bytes = 0;
  files.clear();
  await page.reload();
  await page.locator('.row').first().waitFor();
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  console.log(`first paint, nothing in the cache: ${Math.round(paint)} ms; files of the first view: ${files.size}, ${bytes} bytes with headers`);
  const began = performance.now();
  for (let n = 0; n < 100; n += 1) await page.keyboard.press('ars'[n % 3]);
  const pressed = performance.now();
  const left = async () => (await (await fetch(`${service.url}/api/v1/moderation/summary`, { headers: { authorization: `Bearer ${service.token}` } })).json()).counts.pending;
  while ((await left()) > WAITING - 100) await new Promise((ready) => setTimeout(ready, 50));
  console.log(`100 decisions by keyboard with ${WAITING} waiting: pressed after ${Math.round(pressed - began)} ms, all carried out after ${Math.round(performance.now() - began)} ms`);
  for (const view of ['overview', 'log', 'rules', 'rules/new', 'sites/new', 'accounts', 'tokens', 'webhooks', 'outbox', 'me']) {
    await page.goto(`${service.url}/admin/#/${view}`);
    await page.locator('main h1').first().waitFor();
    await page.waitForTimeout(500);
  }
  console.log(`every view (all but the code for the second factor): ${files.size} files, ${bytes} bytes with headers`);
  if (deeds.length > 0) console.log(deeds);
} finally {
  await chromium.close();
  await service.stop();
}
