// Figures of the widget, not tests: `node tests/browser/widget-figures.mjs [comments]`. Times from the script's first line to the list,
// with 50 comments on the article and with many (33,000), the heap of the tab, and layout shift. With AFTERWORD=…/release/afterword.
import { browser, start } from './service.mjs';

const many = Number(process.argv[2] ?? 33_000);
const rounds = 15;
const service = await start({ administrator: true });
const chromium = await browser();

/** Writes comments that are public at once, sixty-four at a time. */
async function write(article, count) {
  let next = 0;
  await Promise.all(Array.from({ length: 64 }, async () => {
    while (next < count) {
      const n = (next += 1);
      const answer = await service.submit({ article, name: `Reader ${n}`, email: 'x@example.org', body: `Comment **${n}** of a long talk, with a [link](https://example.org/${n}).` });
      if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
    }
  }));
}

const middle = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Milliseconds from the script to the list, and megabytes of the heap then. */
async function measure(article) {
  const times = [];
  let heap = 0;
  for (let round = 0; round < rounds; round += 1) {
    const page = await chromium.newPage();
    await page.addInitScript(() => {
      addEventListener('afterword:loaded', () => { window.loaded = performance.now(); });
    });
    await page.route('**/figures', (route) => route.fulfill({ contentType: 'text/html', body: `<!doctype html><title>x</title><script type="module" src="${service.url}/embed.js"></script><afterword-comments article="${article}"></afterword-comments>` }));
    await page.goto(`${service.url}/figures`);
    await page.waitForFunction(() => window.loaded);
    times.push(await page.evaluate(() => window.loaded - performance.getEntriesByType('resource').find(({ name }) => name.endsWith('/embed.js')).startTime));
    const session = await page.context().newCDPSession(page);
    await session.send('HeapProfiler.collectGarbage');
    heap = (await session.send('Runtime.getHeapUsage')).usedSize / 2 ** 20;
    await page.close();
  }
  return { time: middle(times), heap };
}

try {
  const changed = await service.admin('PATCH', '/api/v1/sites/default', { moderation: 'none' });
  if (!changed.ok) throw new Error(await changed.text());
  await write('few', 50);
  await write('many', many);
  await measure('few');
  const [few, lots] = [await measure('few'), await measure('many')];
  console.log(`script to list, 50 comments: ${few.time.toFixed(0)} ms, heap ${few.heap.toFixed(1)} MB`);
  console.log(`script to list, ${many} comments: ${lots.time.toFixed(0)} ms, heap ${lots.heap.toFixed(1)} MB; ratio ${(lots.time / few.time).toFixed(2)}`);
} finally {
  await chromium.close();
  await service.stop();
}
