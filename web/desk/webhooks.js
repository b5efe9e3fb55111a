// Webhooks: who is told of what, whether it arrived, and the secret that signs it.
import { html, useState } from './vendor/preact-htm.js';
import { call, post, said } from './api.js';
import { Time } from './comment.js';
import { Form, Page, Secret, useOne, usePages } from './form.js';
import { go, to } from './router.js';
import { toast } from './toast.js';
import { t } from './words.js';

const EVENTS = ['comment.held', 'comment.approved', 'comment.rejected', 'comment.spam', 'comment.edited', 'comment.removed'];
const FORMATS = ['standard', 'slack', 'discord', 'matrix', 'telegram'];

/** @param {{key: string, name: string}[]} sites @param {boolean} fresh @returns {import('./types.js').Field[]} */
const fields = (sites, fresh) => [
  ...(fresh ? [{ name: 'site', label: t('column.site'), type: 'choice', options: /** @type {[string, string][]} */ ([['', t('sites.all')], ...sites.map((site) => [site.key, site.name])]) }] : []),
  { name: 'url', label: t('webhook.url'), type: 'url', required: true, hint: 'https://' },
  { name: 'format', label: t('webhook.format'), type: 'choice', options: FORMATS.map((key) => [key, key]) },
  { name: 'events', label: t('webhook.events'), type: 'several', options: EVENTS.map((key) => [key, key]), hint: fresh ? t('webhook.events.hint') : undefined },
  { name: 'include_email', label: t('webhook.email'), type: 'flag' },
  ...(fresh ? [] : [{ name: 'enabled', label: t('webhook.enabled'), type: 'flag' }]),
];

/** @param {() => Promise<unknown>} work @param {string} [done] */
const tried = (work, done) => () => work().then(() => done && toast(done), (error) => toast(said(error), { bad: true }));

/** @param {{id: string}} props */
function Deliveries({ id }) {
  const { rows, end, again } = usePages(`/webhooks/${id}/deliveries`, 'deliveries');
  const replay = (/** @type {string} */ one) => tried(() => post(`/webhooks/${id}/deliveries/${one}/replay`), t('webhook.sent'));
  return html`<h2>${t('webhook.log')} <button type="button" onClick=${again}>${t('again')}</button></h2>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('webhook.log')}><table>
      <thead><tr>${['when', 'what', 'attempts', 'result', 'said', 'do'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr key=${one.id}><td><${Time} at=${one.at} /></td><td>${one.type}</td><td>${one.attempt}</td><td>${t(`delivery.${one.result}`)}</td>
        <td>${one.status_code ?? ''} ${one.error ?? ''}</td><td><button type="button" onClick=${replay(one.id)}>${t('outbox.again')}</button></td></tr>`)}</tbody></table></div>`}${end}`;
}

/** @param {{id: string}} props */
function Webhook({ id }) {
  const fresh = id === 'new';
  const { one, end } = useOne(fresh ? '' : `/webhooks/${id}`);
  const { rows: sites } = usePages('/sites', 'sites');
  const [secret, setSecret] = useState('');
  const save = async (/** @type {Record<string, unknown>} */ values) => {
    const saved = fresh ? await post('/webhooks', values) : await call('PATCH', `/webhooks/${id}`, values);
    if (saved.secret) return setSecret(saved.secret);
    toast(t('saved'));
    go(to('webhooks'));
  };
  const rotate = async () => setSecret((await post(`/webhooks/${id}/rotate-secret`)).secret);
  const remove = async () => { await call('DELETE', `/webhooks/${id}`); go(to('webhooks')); };
  return html`<${Page} title=${fresh ? t('webhooks.new') : t('webhook.title')}>${!fresh && end}
    ${one?.disabled_reason && html`<p class="note">⚠ ${one.disabled_reason}</p>`}
    ${secret && html`<${Secret} text=${secret} label=${t('webhook.secret')} /><p><a href=${to('webhooks')}>${t('webhooks.back')}</a></p>`}
    ${!(fresh && secret) && (fresh || one) && sites.length > 0 && html`<${Form} fields=${fields(sites, fresh)} values=${one ?? { events: [] }} submit=${save} label=${t('save')} cancel=${() => go(to('webhooks'))} />`}
    ${one && html`<p class="deeds"><button type="button" onClick=${tried(() => post(`/webhooks/${id}/test`), t('webhook.sent'))}>${t('webhook.test')}</button>
      <button type="button" onClick=${tried(rotate)}>${t('webhook.rotate')}</button><button type="button" class="quiet" onClick=${tried(remove)}>${t('do.remove')}</button></p>
      <${Deliveries} id=${id} />`}<//>`;
}

function Webhooks() {
  const { rows, end } = usePages('/webhooks', 'webhooks');
  return html`<${Page} title=${t('view.webhooks')} add=${to('webhooks/new')}>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('view.webhooks')}><table>
      <thead><tr>${['url', 'site', 'format', 'state'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr key=${one.id}><td><a href=${to(`webhooks/${one.id}`)}>${one.url ?? '–'}</a></td><td>${one.site ?? t('sites.all')}</td><td>${one.format}</td>
        <td>${one.enabled ? t('webhook.on') : one.disabled_reason ?? t('webhook.off')}</td></tr>`)}</tbody></table></div>`}
    ${end}<//>`;
}

/** @param {{id: string}} props */
export const View = ({ id }) => (id ? html`<${Webhook} key=${id} id=${id} />` : html`<${Webhooks} />`);
