// What stands around every view: how much waits and since when, the ways to everything, the message line, the help.
import { html, useEffect, useState } from './vendor/preact-htm.js';
import { filtered } from './desk.js';
import { Help, keys } from './keys.js';
import { summary } from './live.js';
import { queue } from './queue.js';
import { route, to } from './router.js';
import { session, signOut } from './session.js';
import { useStore } from './store.js';
import { Toast } from './toast.js';
import { ago, number, t } from './words.js';

/** @typedef {'pending' | 'approved' | 'rejected' | 'spam'} State */
const STATES = /** @type {State[]} */ (['pending', 'approved', 'rejected', 'spam']);

/** How many wait, how old the oldest is. */
function Waiting() {
  const { now, live } = useStore(summary);
  const [, again] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => again((n) => n + 1), 60_000);
    return () => clearInterval(timer);
  }, []);
  if (!now) return html`<p class="waiting">…</p>`;
  const oldest = now.oldest_pending_at;
  return html`<p class="waiting"><a href=${to('queue')}>${t('waiting', { n: now.counts.pending })}</a>
    ${oldest && html`<span class="muted"> · ${t('oldest', { when: ago(oldest) })}</span>`}
    ${!live && html`<span class="muted"> · ${t('not.live')}</span>`}</p>`;
}

/** @param {{href: string, here: boolean, children?: any, count?: number | undefined}} props */
const Way = ({ href, here, children, count }) => html`<li><a href=${href} aria-current=${here ? 'page' : null}>${children}${count !== undefined && html` <span class="count">${number(count)}</span>`}</a></li>`;

function Queues() {
  const { now } = useStore(summary);
  const { filter } = useStore(queue);
  const here = useStore(route).view === 'queue';
  const sites = Object.entries(now?.sites ?? {});
  const counts = filter.site ? now?.sites[filter.site] : now?.counts;
  return html`
    <ul>${STATES.map((state) => html`<${Way} href=${filtered({ status: state })} here=${here && filter.status === state} count=${counts?.[state]}>${t(`state.${state}`)}<//>`)}
      <${Way} href=${filtered({ status: 'all' })} here=${here && filter.status === 'all'}>${t('state.all')}<//></ul>
    ${sites.length > 1 && html`<h2>${t('sites')}</h2><ul>
      <${Way} href=${filtered({ site: '' })} here=${here && !filter.site}>${t('sites.all')}<//>
      ${sites.map(([key, own]) => html`<${Way} key=${key} href=${filtered({ site: key, article: '' })} here=${here && filter.site === key} count=${own.pending}>${key}<//>`)}</ul>`}`;
}

/** @param {{admin: boolean}} props */
function Ways({ admin }) {
  const { view } = useStore(route);
  const ways = ['overview', 'log', 'rules', 'tokens', ...(admin ? ['sites', 'accounts', 'webhooks', 'outbox'] : [])];
  return html`<ul>${ways.map((way) => html`<${Way} href=${to(way)} here=${view === way}>${t(`view.${way}`)}<//>`)}</ul>`;
}

/** @param {{children?: any}} props */
export function Shell({ children }) {
  const { account } = useStore(session);
  const place = useStore(route);
  const [menu, setMenu] = useState(false);
  useEffect(() => setMenu(false), [place]);
  return html`
    <a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>${t('skip')}</a>
    <header class="top">
      <button type="button" class="menu" aria-expanded=${menu} aria-controls="ways" onClick=${() => setMenu(!menu)}>☰ <span class="hidden">${t('menu')}</span></button>
      <p class="name">Afterword</p><${Waiting} />
      <button type="button" class="quiet help" onClick=${() => keys.set({ help: true })}><kbd aria-hidden="true">?</kbd> <span>${t('keys.title')}</span></button>
    </header>
    <nav id="ways" class=${menu ? 'shown' : ''} aria-label=${t('menu')}>
      <${Queues} /><${Ways} admin=${account?.role === 'admin'} />
      <ul class="me"><${Way} href=${to('me')} here=${place.view === 'me'}>${account?.name ?? ''}<//>
        <li><button type="button" class="quiet" onClick=${signOut}>${t('sign.out')}</button></li></ul>
    </nav>
    <main id="main" tabindex="-1" class=${place.view}>${children}</main>
    <${Toast} /><${Help} />`;
}
