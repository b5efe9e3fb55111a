// Access tokens: made, shown once, taken back.
import { html, useState } from './vendor/preact-htm.js';
import { call, post, said } from './api.js';
import { Time } from './comment.js';
import { Form, Page, Secret, usePages } from './form.js';
import { session } from './session.js';
import { useStore } from './store.js';
import { toast } from './toast.js';
import { t } from './words.js';

export function View() {
  const { rows, end, again } = usePages('/tokens', 'tokens');
  const { account } = useStore(session);
  const [made, setMade] = useState('');
  const admin = account?.role === 'admin';
  const scopes = /** @type {[string, string][]} */ (['moderate', 'read', ...(admin ? ['admin'] : [])].map((scope) => [scope, t(`scope.${scope}`)]));
  const make = async (/** @type {object} */ values) => {
    setMade((await post('/tokens', values)).token);
    await again();
  };
  const revoke = (/** @type {string} */ id) => call('DELETE', `/tokens/${id}`).then(again, (error) => toast(said(error), { bad: true }));
  return html`<${Page} title=${t('view.tokens')}>
    <h2>${t('tokens.new')}</h2>
    <${Form} key=${made} fields=${[
      { name: 'name', label: t('name'), required: true, maxlength: 100 },
      { name: 'scope', label: t('scope'), type: 'choice', options: scopes },
      { name: 'days', label: t('tokens.days'), type: 'number', min: 1, max: 3650 },
    ]} submit=${make} label=${t('tokens.make')} />
    ${made && html`<${Secret} text=${made} label=${t('tokens.once')} />`}
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('view.tokens')}><table>
      <thead><tr>${['name', 'scope', 'ends', 'used', 'do'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((token) => html`<tr key=${token.id}><td>${token.name}</td><td>${t(`scope.${token.scope}`)}</td><td><${Time} at=${token.expires_at} /></td>
        <td>${token.last_used_at ? html`<${Time} at=${token.last_used_at} />` : '–'}</td>
        <td>${token.revoked_at ? html`<span class="muted">${t('tokens.revoked')}</span>` : html`<button type="button" onClick=${() => revoke(token.id)} aria-label=${`${t('tokens.revoke')}: ${token.name}`}>${t('tokens.revoke')}</button>`}</td></tr>`)}</tbody></table></div>`}
    ${end}<//>`;
}
