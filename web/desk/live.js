// The queue while it happens: what others decide is seen at once, what comes in joins the list, and how much waits is
// always right.
import { address, get } from './api.js';
import { settled } from './decide.js';
import { belongs, load, MOST, put, queue, renew } from './queue.js';
import { store } from './store.js';
import { announce } from './toast.js';
import { t } from './words.js';

/** @typedef {{id: string, site: string, status: string | null, version: number | null, by: string}} Told */

/** How much waits, and since when. */
export const summary = store({
  now: /** @type {import('./types.js').Summary | null} */ (null),
  /** Whether the stream is open. */
  live: false,
});

let due = false;

/** Asks how much waits; at most once a second, however much happens. */
export function count() {
  if (due) return;
  due = true;
  setTimeout(() => {
    due = false;
    get('/moderation/summary').then((now) => summary.set({ now })).catch(() => {});
  }, summary.get().now ? 1000 : 0);
}

/** Arrivals that are looked up one by one within half a second; with more of them a button offers to read the list anew. */
const FEW = 10;
/** @type {Set<string>} */
let arrived = new Set();

async function fetchArrivals() {
  const ids = [...arrived];
  arrived = new Set();
  const { filter, next, rows } = queue.get();
  // Behind the last page nothing jumps; anywhere else newcomers are offered.
  const atTheEnd = filter.sort === 'oldest' && next === null && !filter.q && rows.length < MOST;
  if (!atTheEnd || ids.length > FEW) return queue.set({ news: true });
  for (const id of ids) {
    const comment = await get(`/moderation/comments/${id}`).catch(() => null);
    if (comment && belongs(comment)) put([comment]);
  }
}

/** @param {Told} told */
function arrival(told) {
  const { filter } = queue.get();
  if (filter.site && filter.site !== told.site) return;
  if (filter.status !== 'all' && filter.status !== told.status) return;
  if (arrived.size === 0) setTimeout(fetchArrivals, 500);
  arrived.add(told.id);
}

/** Something happened to a comment that stands in the list. @param {Told} told */
async function elsewhere(told) {
  // An answer to our own request may come after the event that it caused.
  if ((await settled(told.id)) >= (told.version ?? Infinity)) return;
  const row = queue.get().rows.find((one) => one.id === told.id);
  if (!row || row.version >= (told.version ?? Infinity)) return;
  const fresh = told.status ? await get(`/moderation/comments/${told.id}`).catch(() => null) : null;
  const what = fresh ? t(`action.${fresh.events?.at(-1)?.action ?? 'edited'}`) : t('action.removed');
  const text = t('elsewhere', { who: told.by, what, name: row.name });
  renew(told.id, { ...fresh, ...(fresh ? {} : { status: 'removed' }), note: { kind: 'elsewhere', text } });
  announce(text);
}

/** @param {MessageEvent} event */
function happened(event) {
  /** @type {Told} */
  const told = JSON.parse(event.data);
  count();
  if (queue.get().rows.some((row) => row.id === told.id)) void elsewhere(told);
  else if (event.type === 'held' || event.type === 'decided') {
    void settled(told.id).then((version) => { if (version < (told.version ?? 0)) arrival(told); });
  }
}

/** @type {EventSource | null} */
let source = null;
let pause = 2000;

/** Begins to listen, until `deafen`. */
export function listen() {
  source?.close();
  const stream = (source = new EventSource(address('/moderation/stream')));
  for (const type of ['held', 'decided', 'edited', 'removed']) stream.addEventListener(type, happened);
  stream.addEventListener('reset', () => { count(); void load(); });
  stream.onopen = () => { pause = 2000; summary.set({ live: true }); };
  stream.onerror = () => {
    summary.set({ live: false });
    if (stream.readyState !== EventSource.CLOSED || source !== stream) return;
    // Refused: the browser does not come back by itself. What was missed is read anew.
    setTimeout(() => { if (source === stream) { listen(); count(); queue.set({ news: true }); } }, pause);
    pause = Math.min(pause * 2, 60_000);
  };
  count();
}

export function deafen() {
  source?.close();
  source = null;
  summary.set({ now: null, live: false });
}
