// Decisions: the page goes on at once, the request follows, and what fails comes back with its reason. Every request names
// the version that was looked at, so that nothing is written over what somebody else did meanwhile.
import { call, Failure, get, isIn, post, said } from './api.js';
import { belongs, currentRow, put, queue, renew, take } from './queue.js';
import { announce, toast, UNDO_MS } from './toast.js';
import { t } from './words.js';

/** @typedef {import('./types.js').Row} Row */
/** @typedef {{rows: Row[], back: () => Promise<void>}} Deed */

/** Where each decision leads. */
export const TARGET = /** @type {Record<string, string>} */ ({
  approve: 'approved', reject: 'rejected', spam: 'spam', hold: 'pending',
});

/** What can be taken back, the last at the end; so many. @type {Deed[]} */
const deeds = [];
const DEEDS = 100;

/** What is on its way about a comment, and the version that it leads to. @type {Map<string, Promise<number>>} */
const busy = new Map();
/** The versions that came of our own decisions; so many. @type {Map<string, number>} */
const own = new Map();
const OWN = 1000;

/** The version to name, once nothing is on its way about it. @param {Row} row */
const version = async (row) => Math.max((await busy.get(row.id)?.catch(() => 0)) ?? 0, own.get(row.id) ?? 0, row.version);

/** Waits until nothing of ours is on its way about it; the version that we know. @param {string} id */
export async function settled(id) {
  await busy.get(id)?.catch(() => 0);
  return own.get(id) ?? 0;
}

/** @param {string} id @param {number} is */
function learn(id, is) {
  own.delete(id);
  own.set(id, is);
  if (own.size > OWN) own.delete(own.keys().next().value ?? '');
}

/** @param {string} id @param {() => Promise<import('./types.js').Comment>} work */
function inTurn(id, work) {
  const turn = (busy.get(id) ?? Promise.resolve(0)).catch(() => 0).then(work);
  const done = turn.then((comment) => { learn(id, comment.version); return comment.version; });
  done.catch(() => 0);
  busy.set(id, done);
  const over = () => busy.get(id) === done && busy.delete(id);
  done.then(over, over);
  return turn;
}

/** Sees that nothing is lost when the page closes while something is on its way; without a session nothing arrives. */
addEventListener('beforeunload', (event) => { if (busy.size > 0 && isIn()) event.preventDefault(); });

/** What is still to be carried out, and can be taken back until then. @type {Set<() => Promise<void>>} */
const planned = new Set();

/** Carries out what is planned, and waits for all that is on its way. */
export async function finish() {
  await Promise.all([...planned].map((now) => now()));
  await Promise.allSettled(busy.values());
}

/** @param {Deed} deed */
function remember(deed) {
  deeds.push(deed);
  if (deeds.length > DEEDS) deeds.shift();
  return deed;
}

/** What became of a comment whose decision failed, put back into sight. @param {Row} row @param {unknown} error */
async function bringBack(row, error) {
  const conflict = error instanceof Failure && (error.status === 412 || error.status === 409);
  if (error instanceof Failure && error.status === 404) return toast(t('gone', { name: row.name }), { bad: true });
  let fresh = row;
  let text = said(error);
  if (conflict) {
    fresh = await get(`/moderation/comments/${row.id}`).catch(() => row);
    const last = fresh.events?.at(-1);
    text = t('conflict', { who: last?.actor ?? '', what: t(`action.${last?.action ?? 'edited'}`) });
  }
  put([{ ...fresh, note: { kind: conflict ? 'conflict' : 'error', text } }], true);
  toast(t('failed.decision', { name: row.name, why: text }), { bad: true });
}

/** Shows the list as it will be. @param {Row[]} rows @param {string} status */
function foresee(rows, status) {
  const later = rows.map((row) => ({ ...row, status, pending_edit: null }));
  const leaving = later.filter((row) => !belongs(row)).map((row) => row.id);
  for (const row of later) if (belongs(row)) renew(row.id, { status, pending_edit: null });
  if (leaving.length > 0) take(new Set(leaving));
  else queue.set({ selected: new Set() });
}

/** @param {Row} row @param {string} decision */
const ask = (row, decision) =>
  inTurn(row.id, async () => post(`/moderation/comments/${row.id}/${decision}`, {}, Math.max(row.version, own.get(row.id) ?? 0)));

/** Decides on many in one request. @param {Row[]} rows @param {string} decision @returns {Promise<Row[]>} those that were decided */
async function askMany(rows, decision) {
  const versions = Object.fromEntries(await Promise.all(rows.map(async (row) => [row.id, await version(row)])));
  const request = post('/moderation/decisions', { decision, ids: rows.map((row) => row.id), versions });
  const results = request.then((answer) => new Map(answer.results.map((/** @type {any} */ one) => [one.id, one])));
  const done = rows.map(async (row) => {
    try {
      await inTurn(row.id, async () => {
        const one = (await results).get(row.id);
        if (one.comment) return one.comment;
        throw new Failure(one.status, one.problem);
      });
      return row;
    } catch (error) {
      await bringBack(row, error);
      return null;
    }
  });
  return (await Promise.all(done)).filter((row) => row !== null);
}

/** The decided comments, in requests of at most 500. @param {Row[]} rows @param {string} decision */
async function carriedOut(rows, decision) {
  if (rows.length > 1) {
    /** @type {Row[]} */
    const all = [];
    for (let at = 0; at < rows.length; at += 500) all.push(...(await askMany(rows.slice(at, at + 500), decision)));
    return all;
  }
  const [row] = rows;
  if (!row) return [];
  try {
    await ask(row, decision);
    return [row];
  } catch (error) {
    await bringBack(row, error);
    return [];
  }
}

/** The rows that a command means: those that are selected, or the one that the moderator stands on. */
export function meant() {
  const { rows, selected } = queue.get();
  const row = currentRow();
  return selected.size > 0 ? rows.filter((one) => selected.has(one.id)) : row ? [row] : [];
}

/** @param {string} decision @param {Row[]} [rows] */
export function decide(decision, rows = meant()) {
  if (rows.length === 0) return;
  const done = carriedOut(rows, decision);
  const deed = remember({ rows, back: async () => takeBack(await done) });
  foresee(rows, TARGET[decision] ?? '');
  const left = queue.get().rows.length;
  toast(t(`did.${decision}`, { n: rows.length, name: rows[0]?.name ?? '' }), { undo: () => undo(deed) });
  if (left === 0 && !queue.get().next) announce(t('queue.empty'));
}

/** @param {Row[]} rows those that were decided */
async function takeBack(rows) {
  await Promise.all(rows.map(async (row) => {
    try {
      const fresh = await inTurn(row.id, async () => post(`/moderation/comments/${row.id}/undo`, {}, own.get(row.id)));
      renew(row.id, fresh);
    } catch (error) {
      const fresh = await get(`/moderation/comments/${row.id}`).catch(() => row);
      put([{ ...fresh, note: { kind: 'error', text: t('failed.undo', { why: said(error) }) } }]);
      toast(t('failed.undo', { why: said(error) }), { bad: true });
    }
  }));
}

/** Takes the last deed back, or this one. @param {Deed | undefined} [deed] */
export function undo(deed = deeds.at(-1)) {
  const at = deed ? deeds.indexOf(deed) : -1;
  if (!deed || at < 0) return announce(t('undo.nothing'));
  deeds.splice(at, 1);
  put(deed.rows.map(({ note: _, ...row }) => row), true);
  toast(t('did.undo', { n: deed.rows.length, name: deed.rows[0]?.name ?? '' }));
  return deed.back();
}

/** Removes a comment for good, ten seconds later: until then it can be taken back. @param {Row} row */
export function removeForGood(row) {
  take(new Set([row.id]));
  const leave = async () => {
    timer = 0;
    try {
      await call('DELETE', `/moderation/comments/${row.id}`, undefined, { version: await version(row), keepalive: true });
    } catch (error) {
      await bringBack(row, error);
    }
  };
  let timer = window.setTimeout(leave, UNDO_MS);
  const now = async () => { if (timer) { clearTimeout(timer); await leave(); } };
  planned.add(now);
  addEventListener('pagehide', now, { once: true });
  const forget = () => { planned.delete(now); removeEventListener('pagehide', now); };
  const back = async () => { clearTimeout(timer); forget(); };
  const deed = remember({ rows: [row], back });
  toast(t('did.remove', { name: row.name }), { undo: () => { if (timer) undo(deed); } });
  setTimeout(() => { forget(); const at = deeds.indexOf(deed); if (at >= 0) deeds.splice(at, 1); }, UNDO_MS);
}

/** Replies; a comment that waited is approved with it. @param {Row} row @param {string} body */
export async function reply(row, body) {
  const answer = await post(`/moderation/comments/${row.id}/reply`, { body });
  const fresh = await get(`/moderation/comments/${row.id}`);
  learn(row.id, fresh.version);
  foresee([row], 'approved');
  toast(t('did.reply', { name: row.name }));
  return answer;
}

/** Corrects name, website or text. @param {Row} row @param {Record<string, unknown>} patch */
export async function correct(row, patch) {
  const at = await version(row);
  const fresh = await call('PATCH', `/moderation/comments/${row.id}`, patch, { version: at });
  learn(row.id, fresh.version);
  const { note: _, ...kept } = row;
  put([{ ...kept, ...fresh }]);
  toast(t('did.edit'));
}

/** Drops the edit that waits. @param {Row} row */
export async function discardEdit(row) {
  const fresh = await post(`/moderation/comments/${row.id}/discard-edit`, {}, await version(row));
  learn(row.id, fresh.version);
  renew(row.id, fresh);
  if (!belongs(fresh)) take(new Set([row.id]));
  toast(t('did.discard'));
}

/**
 * Makes a rule that rejects what this author sends from now on, before all other rules of the site.
 * @param {Row} row
 */
export async function block(row) {
  const condition = row.email ? { on: 'email', is: 'equals', values: [row.email] } : { on: 'name', is: 'equals', values: [row.name] };
  const name = t('block.rule', { name: row.name }).slice(0, 100);
  const rule = await post('/moderation/rules', { site: row.site, name, conditions: [condition], effect: { decide: 'reject' } });
  const { rules } = await get(`/moderation/rules?site=${row.site}&limit=200`);
  const ids = [rule.id, ...rules.map((/** @type {{id: string}} */ one) => one.id).filter((/** @type {string} */ id) => id !== rule.id)];
  if (ids.length > 1) await call('PUT', '/moderation/rules/order', { site: row.site, ids });
  const deed = remember({ rows: [], back: () => call('DELETE', `/moderation/rules/${rule.id}`) });
  toast(t('did.block', { name: row.name }), { undo: () => undo(deed) });
}
