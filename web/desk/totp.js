// The second factor: switched on with a code that an app shows, switched off with the password.
import { html, useState } from './vendor/preact-htm.js';
import { call, post } from './api.js';
import { Form } from './form.js';
import { session } from './session.js';
import { toast } from './toast.js';
import { encode } from './vendor/uqr.js';
import { t } from './words.js';

/** A QR code as a picture made of one path. @param {{text: string, label: string}} props */
function Code({ text, label }) {
  const { size, data } = encode(text, { ecc: 'M', border: 2 });
  const dots = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ''))).join('');
  return html`<svg class="qr" role="img" aria-label=${label} viewBox=${`0 0 ${size} ${size}`} shape-rendering="crispEdges"><rect width=${size} height=${size} /><path d=${dots} /></svg>`;
}

/** @param {boolean} totp */
function know(totp) {
  const { account } = session.get();
  if (account) session.set({ account: { ...account, totp } });
}

/** @param {{on: boolean, made: (codes: string[]) => void}} props `made`: the recovery codes, which are shown once */
export function SecondFactor({ on, made }) {
  const [key, setKey] = useState(/** @type {{secret: string, otpauth_url: string} | null} */ (null));
  const password = { name: 'password', label: t('password'), type: 'password', autocomplete: 'current-password', required: true };
  const off = async (/** @type {object} */ values) => {
    await call('DELETE', '/account/totp', values);
    know(false);
    toast(t('totp.gone'));
  };
  const begin = async (/** @type {object} */ values) => setKey(await post('/account/totp', values));
  const confirm = async (/** @type {object} */ values) => {
    const { recovery_codes: codes } = await call('PUT', '/account/totp', values);
    made(codes);
    know(true);
    toast(t('totp.done'));
  };
  if (on) return html`<p>${t('totp.on')}</p><${Form} key="off" fields=${[password]} whole submit=${off} label=${t('totp.off')} />`;
  if (!key) return html`<p>${t('totp.why')}</p><${Form} key="begin" fields=${[password]} whole submit=${begin} label=${t('totp.begin')} />`;
  return html`<p>${t('totp.scan')}</p><${Code} text=${key.otpauth_url} label=${t('totp.picture')} /><p>${t('totp.type')} <code>${key.secret}</code></p>
    <${Form} key="confirm" fields=${[{ name: 'code', label: t('code'), autocomplete: 'one-time-code', required: true, maxlength: 10 }]} whole submit=${confirm} label=${t('totp.confirm')} />`;
}
