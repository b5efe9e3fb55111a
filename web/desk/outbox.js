// Mails: what waits, what failed and why, and "send again".
import { html, useState } from './vendor/preact-htm.js';
import { post, said } from './api.js';
import { Time } from './comment.js';
import { Page, usePages } from './form.js';
import { to } from './router.js';
import { toast } from './toast.js';
import { t } from './words.js';

export function View() {
  const [state, setState] = useState('failed');
  const { rows, end, again } = usePages(`/mail/outbox?state=${state}`, 'mails');
  const send = async (/** @type {object} */ what) => {
    try {
      await post('/mail/outbox', what);
      toast(t('outbox.going'));
      await again();
    } catch (error) {
      toast(said(error), { bad: true });
    }
  };
  return html`<${Page} title=${t('view.outbox')}>
    <p class="tabs">${['failed', 'waiting', 'sent'].map((one) => html`<button type="button" aria-pressed=${state === one} onClick=${() => setState(one)}>${t(`outbox.${one}`)}</button>`)}
      ${state === 'failed' && rows.length > 0 && html`<button type="button" class="primary" onClick=${() => send({ all_failed: true })}>${t('outbox.all')}</button>`}</p>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('view.outbox')}><table>
      <thead><tr>${['when', 'kind', 'site', 'attempts', 'said', 'do'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((mail) => html`<tr key=${mail.id}><td><${Time} at=${mail.created_at} /></td><td>${mail.kind}</td><td>${mail.site ?? ''}</td><td>${mail.attempts}</td><td>${mail.last_error ?? ''}</td>
        <td>${mail.comment && html`<a href=${to(`comment/${mail.comment}`)}>${t('log.look')}</a> `}${state === 'failed' && html`<button type="button" onClick=${() => send({ ids: [mail.id] })}>${t('outbox.again')}</button>`}</td></tr>`)}</tbody></table></div>`}
    ${end}<//>`;
}
