// What the tests of the desk share: people with accounts, a browser page that notes everything that a page must not do,
// and a look by axe.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const axe = readFileSync(createRequire(join(root, 'target/browser/')).resolve('axe-core'), 'utf8');

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 360, height: 740 };

/** A page of its own; `deeds` is what it must not have done. */
export async function visitor(chromium, service, options = {}) {
  const context = await chromium.newContext({ viewport: DESKTOP, locale: 'en', ...options });
  const deeds = [];
  await context.route('**/*', (route) => {
    const address = route.request().url();
    if (address.startsWith(`${service.url}/`) || address.startsWith('data:')) return route.fallback();
    deeds.push(`asked for ${address}`);
    return route.abort();
  });
  await context.addInitScript(() => {
    for (const name of ['alert', 'prompt', 'confirm', 'print', 'open']) window[name] = () => console.error(`ran ${name}`);
    addEventListener('securitypolicyviolation', (event) => console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await context.newPage();
  page.on('dialog', (dialog) => { deeds.push(`dialog ${dialog.message()}`); return dialog.dismiss(); });
  // Chromium says so of each answer that is a refusal: nobody is signed in yet, somebody else was quicker, a link is used up.
  const expected = (message) => /the server responded with a status of (401|409|412) /.test(message.text()) || message.location().url.endsWith('/session/link/look');
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !expected(message)) deeds.push(`console ${message.text()}`);
  });
  page.on('pageerror', (error) => deeds.push(`error ${error}`));
  page.on('popup', () => deeds.push('a window'));
  page.on('worker', () => deeds.push('a worker'));
  return { context, page, deeds };
}

/**
 * What axe finds wrong, one line each. It runs outside of the page's policy, as an extension would. `open`: a session of the
 * caller's, where the end of another one would take the page's authenticator away.
 */
export async function findings(page, open) {
  const session = open ?? await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: axe });
  const found = await session.send('Runtime.evaluate', {
    expression: `axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations.flatMap((one) =>
      one.nodes.map((node) => one.id + ': ' + node.target.join(' ') + ' ' + (node.any[0]?.message ?? node.all[0]?.message ?? node.none[0]?.message))))`,
    awaitPromise: true, returnByValue: true,
  });
  if (!open) await session.detach();
  if (found.exceptionDetails) throw new Error(found.exceptionDetails.exception?.description ?? found.exceptionDetails.text);
  return found.result.value;
}
