// Passkeys: signing in with one, and one's own. Loaded where the service and the browser know them.
import { html, useState } from './vendor/preact-htm.js';
import { call, Failure, post } from './api.js';
import { Time } from './comment.js';
import { Form, usePages } from './form.js';
import { enter } from './session.js';
import { toast } from './toast.js';
import { t } from './words.js';

/**
 * Asks the browser, which asks its owner. Whatever it says, like that they have changed their mind, is one thing to us.
 * @param {() => Promise<Credential | null>} work
 */
async function asked(work) {
  try {
    return /** @type {PublicKeyCredential} */ (await work()).toJSON();
  } catch {
    throw new Failure(0, { detail: t('passkey.failed') });
  }
}

export function SignIn() {
  const signIn = async () => {
    const { challenge, options } = await post('/session/passkey');
    const credential = await asked(() => navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }));
    await enter(await call('PUT', '/session/passkey', { challenge, credential }));
  };
  return html`<${Form} fields=${[]} submit=${signIn} label=${t('passkey.sign')} />`;
}

const name = () => ({ name: 'name', label: t('name'), required: true, maxlength: 100 });
const password = () => ({ name: 'password', label: t('password'), type: 'password', autocomplete: 'current-password', required: true });

/** @typedef {{id: string, name: string, created_at: string, last_used_at: string | null}} Passkey */

/** What is done with one of them. @param {{passkey: Passkey, removes: boolean, end: (done: boolean) => unknown}} props */
function Change({ passkey, removes, end }) {
  const path = `/account/passkeys/${passkey.id}`;
  const save = async (/** @type {object} */ values) => {
    await call(removes ? 'DELETE' : 'PATCH', path, values);
    toast(t('saved'));
    await end(true);
  };
  return html`<h3>${passkey.name}</h3><${Form} key=${path + removes} fields=${[removes ? password() : name()]} values=${removes ? {} : passkey} whole
    submit=${save} label=${removes ? t('passkey.remove') : t('save')} cancel=${() => end(false)} />`;
}

export function Own() {
  const { rows, end, again } = usePages('/account/passkeys', 'passkeys');
  const [change, setChange] = useState(/** @type {{passkey: Passkey, removes: boolean} | null} */ (null));
  const [round, setRound] = useState(0);
  const add = async (/** @type {Record<string, string>} */ values) => {
    const { challenge, options } = await post('/account/passkeys', { password: values.password });
    const credential = await asked(() => navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) }));
    await call('PUT', '/account/passkeys', { name: values.name, challenge, credential });
    toast(t('saved'));
    setRound(round + 1);
    await again();
  };
  const over = (/** @type {boolean} */ done) => { setChange(null); return done && again(); };
  const button = (/** @type {Passkey} */ passkey, /** @type {boolean} */ removes) => {
    const label = removes ? t('passkey.remove') : t('do.edit');
    return html`<button type="button" aria-label=${`${label}: ${passkey.name}`} onClick=${() => setChange({ passkey, removes })}>${label}</button>`;
  };
  return html`<section><h2>${t('passkey.title')}</h2><p>${t('passkey.why')}</p>
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t('passkey.title')}><table>
      <thead><tr>${['name', 'since', 'used', 'do'].map((column) => html`<th scope="col">${t(`column.${column}`)}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr key=${one.id}><td>${one.name}</td><td><${Time} at=${one.created_at} /></td>
        <td>${one.last_used_at ? html`<${Time} at=${one.last_used_at} />` : '–'}</td><td>${button(one, false)} ${button(one, true)}</td></tr>`)}</tbody></table></div>`}${end}
    ${change ? html`<${Change} ...${change} end=${over} />`
    : html`<${Form} key=${round} fields=${[name(), password()]} whole submit=${add} label=${t('passkey.add')} />`}</section>`;
}
