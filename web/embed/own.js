// @ts-check
/** A visitor's own comments that wait: only this device shows them. */
import { ask, keep } from './kit.js';

/**
 * Those of this article that are not public, oldest first. What is gone is forgotten.
 * @param {import('./thread.js').Thread} thread
 * @returns {Promise<import('./kit.js').Comment[]>}
 */
export async function waiting(thread) {
  const { me, api, article } = thread;
  const ids = Object.keys(me.own ?? {}).filter((id) => me.own?.[id].article === article).sort().slice(-20);
  const answers = await Promise.all(ids.map((id) => ask(`${api}../../comments/${id}`, { token: me.token }).catch(() => null)));
  answers.forEach((answer, n) => {
    if (answer?.status === 404) delete me.own?.[ids[n]];
  });
  keep(api, me);
  return answers.flatMap((answer) => (answer?.ok && answer.data.status === 'pending' ? [answer.data] : []));
}
