// One's own account: name, language, mail, password, the second factor, and where one is signed in.
import { html, useState } from './vendor/preact-htm.js';
import { call, post, said } from './api.js';
import { Time } from './comment.js';
import { Form, Page, Passkeys, Secret, usePages } from './form.js';
import { session } from './session.js';
import { useStore } from './store.js';
import { SecondFactor } from './totp.js';
import { toast } from './toast.js';
import { LANGUAGES, speak, t } from './words.js';

/** @param {{account: import('./types.js').Account}} props */
function Profile({ account }) {
  const save = async (/** @type {Record<string, any>} */ values) => {
    await call('PATCH', '/account', values);
    const now = { ...account, ...values };
    await speak(now.language);
    session.set({ account: now });
    toast(t('saved'));
  };
  return html`<${Form} key=${account.language} fields=${[
    { name: 'name', label: t('name'), required: true, maxlength: 100 },
    { name: 'language', label: t('language'), type: 'choice', options: LANGUAGES },
    { name: 'mail', label: t('account.mail'), type: 'choice', options: ['each', 'digest', 'none'].map((key) => [key, t(`mail.${key}`)]) },
  ]} values=${{ ...account, language: account.language ?? document.documentElement.lang }} submit=${save} label=${t('save')} />`;
}

function Password() {
  const [round, again] = useState(0);
  const save = async (/** @type {object} */ values) => {
    await post('/account/password', values);
    toast(t('password.saved'));
    again(round + 1);
  };
  return html`<${Form} key=${round} fields=${[
    { name: 'current_password', label: t('password.current'), type: 'password', autocomplete: 'current-password', required: true },
    { name: 'password', label: t('password.new'), type: 'password', autocomplete: 'new-password', required: true, hint: t('password.hint') },
  ]} whole submit=${save} label=${t('password.change')} />`;
}

function Sessions() {
  const { rows, end, again } = usePages('/sessions', 'sessions');
  const close = (/** @type {string} */ path) => () => call('DELETE', path).then(again, (error) => toast(said(error), { bad: true }));
  return html`${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('sessions')}><table>
      <thead><tr>${['program', 'since', 'used', 'do'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr key=${one.id}><td>${one.user_agent ?? '–'}${one.current && html` <span class="muted">(${t('sessions.this')})</span>`}</td><td><${Time} at=${one.created_at} /></td>
        <td><${Time} at=${one.last_used_at} /></td><td>${!one.current && html`<button type="button" onClick=${close(`/sessions/${one.id}`)}>${t('sign.out')}</button>`}</td></tr>`)}</tbody></table></div>
    <p><button type="button" onClick=${close('/sessions')}>${t('sessions.close')}</button></p>`}${end}`;
}

export function View() {
  const { account } = useStore(session);
  const [codes, setCodes] = useState(/** @type {string[]} */ ([]));
  if (!account) return null;
  return html`<${Page} title=${t('view.me')}><p class="muted">${account.email} · ${t(`role.${account.role}`)}</p>
    <h2>${t('me.profile')}</h2><${Profile} account=${account} />
    <h2>${t('password')}</h2><${Password} />
    <h2>${t('totp.title')}</h2>
    ${codes.length > 0 ? html`<${Secret} text=${codes.join('\n')} label=${t('totp.codes')} />` : html`<${SecondFactor} on=${account.totp} made=${setCodes} />`}
    <${Passkeys} part="Own" />
    <h2>${t('sessions')}</h2><${Sessions} /><//>`;
}
