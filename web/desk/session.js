// Who is signed in. The session itself is a cookie that no script can read.
import { call, get, onSignedOut, post, said, useCsrf } from './api.js';
import { finish } from './decide.js';
import { deafen, listen } from './live.js';
import { store } from './store.js';
import { toast } from './toast.js';
import { speak } from './words.js';

export const session = store({
  /** Nobody, or not known yet. */
  account: /** @type {import('./types.js').Account | null} */ (null),
  known: false,
});

/** @param {import('./types.js').Session} opened */
export async function enter({ account, csrf_token }) {
  const before = session.get().account;
  // Somebody else comes in by a link. The caller goes on first: it knows where that leads.
  if (before && before.id !== account.id) return void setTimeout(() => location.reload());
  useCsrf(csrf_token);
  await speak(account.language);
  session.set({ account, known: true });
  listen();
}

/** Whoever is next in this tab must find nothing of what was here: a new page forgets all of it for sure. */
function leave() {
  const { account } = session.get();
  useCsrf('');
  deafen();
  session.set({ account: null, known: true });
  if (account) location.reload();
}

onSignedOut(leave);

/** Finds out whether somebody is signed in already. */
export async function resume() {
  try {
    await enter(await get('/session'));
  } catch {
    await speak();
    leave();
  }
}

/** @param {Record<string, string>} credentials */
export const signIn = async (credentials) => enter(await post('/session', credentials));

export async function signOut() {
  try {
    await finish();
    await call('DELETE', '/session');
    leave();
  } catch (error) {
    toast(said(error), { bad: true });
  }
}
