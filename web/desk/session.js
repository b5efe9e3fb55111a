// Who is signed in. The session itself is a cookie that no script can read.
import { call, get, onSignedOut, post, said, useCsrf } from './api.js';
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
  useCsrf(csrf_token);
  await speak(account.language);
  session.set({ account, known: true });
  listen();
}

function leave() {
  useCsrf('');
  deafen();
  session.set({ account: null, known: true });
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
    await call('DELETE', '/session');
    leave();
  } catch (error) {
    toast(said(error), { bad: true });
  }
}
