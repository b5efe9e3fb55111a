// Begins: finds out who is there, and shows the view that the address names. Views for rarer work are loaded when needed.
import { html, render, useEffect, useState } from './vendor/preact-htm.js';
import { Desk } from './desk.js';
import { keys, useKeys } from './keys.js';
import { route } from './router.js';
import { resume, session } from './session.js';
import { Shell } from './shell.js';
import { useStore } from './store.js';
import { t } from './words.js';

/** @type {Record<string, () => Promise<{View: any}>>} */
const VIEWS = {
  overview: () => import('./overview.js'),
  log: () => import('./log.js'),
  rules: () => import('./rules.js'),
  sites: () => import('./sites.js'),
  accounts: () => import('./accounts.js'),
  tokens: () => import('./tokens.js'),
  webhooks: () => import('./webhooks.js'),
  outbox: () => import('./outbox.js'),
  comment: () => import('./one.js'),
  me: () => import('./me.js'),
};

/** A view that is loaded first. @param {{load: () => Promise<{View: any}>, name: string, of: any}} props */
function Later({ load, name, of }) {
  const [view, setView] = useState(/** @type {any} */ (null));
  useEffect(() => {
    let here = true;
    load().then(({ View }) => here && setView(() => View));
    return () => { here = false; };
  }, [name]);
  return view ? html`<${view} ...${of} />` : html`<p class="empty loading">${t('loading')}</p>`;
}

/** Where there is no list the help is all that keys do. */
function Plain({ children = /** @type {any} */ (null) }) {
  useKeys({ '?': () => keys.set({ help: true }) });
  return children;
}

function App() {
  const { account, known } = useStore(session);
  const { view, id, query } = useStore(route);
  const name = known ? (account && view !== 'link' ? view : 'enter') : '';
  useEffect(() => {
    if (!name) return;
    document.title = `${t(`view.${name in VIEWS || name === 'enter' ? name : 'queue'}`)} · Afterword`;
    if (name !== 'queue') document.getElementById('main')?.focus();
  }, [name, id]);
  if (!name) return null;
  if (name === 'enter') return html`<${Later} key="enter" name=${view} load=${() => import('./enter.js')} of=${{ view, id }} />`;
  const load = VIEWS[view];
  return html`<${Shell}>${load ? html`<${Plain}><${Later} key=${view} name=${view} load=${load} of=${{ id, query }} /><//>` : html`<${Desk} />`}<//>`;
}

const place = document.getElementById('desk');
void resume().then(() => place && render(html`<${App} />`, place));
