// Passkeys in a real browser with an authenticator that Chromium pretends to have: one is added at the desk, opens it, gets
// another name, and opens nothing any more once it is removed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findings, visitor } from './desk-help.mjs';
import { browser, start } from './service.mjs';

const PASSWORD = 'four words are enough here';
let service, chromium, ann, offer;

before(async () => {
  service = await start({ host: 'localhost' });
  offer = await (await fetch(`${service.url}/api/v1/session/passkey`)).json();
  chromium = await browser();
});
after(async () => {
  await chromium?.close();
  await service?.stop();
});

/** Runs where the program knows passkeys, and says so where it does not. */
const known = (name, work) => test(name, { timeout: 120_000 }, async (context) => {
  if (!offer.offered) return context.skip(`NOT TESTED, the program has no passkeys: ${offer.why_not}`);
  return work();
});

const heading = (name) => ann.page.getByRole('heading', { name, exact: true });
const button = (name) => ann.page.getByRole('button', { name, exact: true });

/** A browser with an authenticator of its own, which looks at its owner each time. */
async function withAuthenticator() {
  const here = await visitor(chromium, service);
  here.page.setDefaultTimeout(20_000);
  const devtools = await here.context.newCDPSession(here.page);
  await devtools.send('WebAuthn.enable');
  const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', { options });
  return { ...here, devtools, authenticatorId };
}

async function signOut() {
  await button('Sign out').first().click();
  await heading('Sign in').waitFor();
}

known('a passkey is added at the desk', async () => {
  ann = await withAuthenticator();
  const { page, deeds, devtools, authenticatorId } = ann;
  await page.goto(service.setup());
  await page.getByLabel('Email').fill('ann@example.org');
  await page.getByLabel('Name').fill('Ann');
  await page.getByLabel('New password').fill(PASSWORD);
  await button('Save and sign in').click();
  await page.getByText('Nothing waits.').first().waitFor();
  await page.goto(`${service.url}/admin/#/me`);
  await heading('Passkeys').waitFor();
  const form = page.locator('form').filter({ has: button('Add a passkey') });
  await form.getByLabel('Name').fill('Laptop');
  await form.getByLabel('Password').fill('not this one at all');
  await button('Add a passkey').click();
  await form.getByText('This is not your password.').waitFor();
  await form.getByLabel('Password').fill(PASSWORD);
  await button('Add a passkey').click();
  await page.getByRole('cell', { name: 'Laptop', exact: true }).waitFor();
  const { credentials } = await devtools.send('WebAuthn.getCredentials', { authenticatorId });
  assert.deepEqual(credentials.map((one) => [one.rpId, one.isResidentCredential]), [['localhost', true]]);
  assert.deepEqual(await findings(page, ann.devtools), []);
  // Of the wrong password Chromium says that an answer was a refusal.
  assert.deepEqual(deeds.splice(0).filter((deed) => !deed.includes('status of 422')), []);
});

known('it opens the desk without a password', async () => {
  const { page, deeds } = ann;
  await signOut();
  await button('Sign in with a passkey').waitFor();
  assert.deepEqual(await findings(page, ann.devtools), []);
  await button('Sign in with a passkey').click();
  await heading('Passkeys').waitFor();
  // When it was added, and when it was used; the list comes after its heading.
  await page.getByRole('row', { name: /Laptop/ }).locator('time').nth(1).waitFor();
  assert.deepEqual(deeds.splice(0), []);
});

known('who changes their mind is told so, and can go on', async () => {
  const { page, deeds, devtools, authenticatorId } = ann;
  await signOut();
  await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  await button('Sign in with a passkey').click();
  await page.getByRole('alert').getByText('The browser made no passkey, or showed none.').waitFor();
  assert.deepEqual(await findings(page, ann.devtools), []);
  await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true });
  await button('Sign in with a passkey').click();
  await heading('Passkeys').waitFor();
  assert.deepEqual(deeds.splice(0), []);
});

known('another name, and removed it opens nothing', async () => {
  const { page, deeds } = ann;
  await button('Edit: Laptop').click();
  await page.locator('form').filter({ has: button('Cancel') }).getByLabel('Name').fill('The old laptop');
  await button('Save').last().click();
  await page.getByRole('cell', { name: 'The old laptop', exact: true }).waitFor();
  await button('Remove: The old laptop').click();
  const form = page.locator('form').filter({ has: button('Cancel') });
  await form.getByLabel('Password').fill(PASSWORD);
  assert.deepEqual(await findings(page, ann.devtools), []);
  await form.getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('cell', { name: 'The old laptop', exact: true }).waitFor({ state: 'detached' });
  await signOut();
  await button('Sign in with a passkey').click();
  await page.getByRole('alert').getByText('This passkey opens no account here').waitFor();
  assert.deepEqual(deeds.splice(0), []);
});

known('at an address without a name none is offered', async () => {
  const other = await start();
  try {
    const { page } = await visitor(chromium, other);
    await page.goto(`${other.url}/admin/`);
    const asked = page.waitForResponse((answer) => answer.url().endsWith('/session/passkey'));
    await page.reload();
    assert.equal((await (await asked).json()).offered, false);
    assert.equal(await page.getByRole('button', { name: 'Sign in with a passkey' }).count(), 0);
  } finally {
    await other.stop();
  }
});
