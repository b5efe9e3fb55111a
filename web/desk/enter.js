// The way in: by password, by a code of the second factor, by a link from a mail or from the first start.
import { html, useEffect, useState } from './vendor/preact-htm.js';
import { Failure, post, said } from './api.js';
import { Form, Passkeys } from './form.js';
import { go, to } from './router.js';
import { enter, session, signIn } from './session.js';
import { useStore } from './store.js';
import { Toast } from './toast.js';
import { t } from './words.js';

/** @param {{title: string, children?: any}} props */
const Door = ({ title, children }) => html`<main id="main" class="door" tabindex="-1"><p class="name">Afterword</p><h1>${title}</h1>${children}<${Toast} /></main>`;

const CODE = { name: 'code', label: '', autocomplete: 'one-time-code', required: true, maxlength: 40 };
const code = () => ({ ...CODE, label: t('code'), hint: t('code.hint') });

/**
 * Asks for the code once the service wants one, and sends the same again with it.
 * @param {(values: Record<string, string>) => Promise<unknown>} work
 */
function useSecondFactor(work) {
  const [first, setFirst] = useState(/** @type {Record<string, string> | null} */ (null));
  const send = async (/** @type {Record<string, string>} */ values) => {
    try {
      await work({ ...first, ...values });
    } catch (error) {
      if (first || !(error instanceof Failure) || error.code !== 'second_factor_required') throw error;
      setFirst(values);
    }
  };
  return { send, asked: first !== null, back: () => setFirst(null) };
}

function SignIn() {
  const { send, asked, back } = useSecondFactor(signIn);
  if (asked) return html`<${Door} title=${t('code.title')}><${Form} key="code" fields=${[code()]} whole submit=${send} label=${t('sign.in')} cancel=${back} /><//>`;
  return html`<${Door} title=${t('sign.in')}>
    <${Form} key="password" fields=${[
      { name: 'email', label: t('email'), type: 'email', autocomplete: 'username', required: true },
      { name: 'password', label: t('password'), type: 'password', autocomplete: 'current-password', required: true },
    ]} whole submit=${send} label=${t('sign.in')} />
    <${Passkeys} part="SignIn" />
    <p><a href=${to('forgotten')}>${t('forgotten')}</a></p><//>`;
}

function Forgotten() {
  const [sent, setSent] = useState(false);
  if (sent) return html`<${Door} title=${t('forgotten.sent')}><p>${t('forgotten.sent.text')}</p><p><a href=${to('queue')}>${t('sign.in')}</a></p><//>`;
  return html`<${Door} title=${t('forgotten')}>
    <${Form} fields=${[{ name: 'email', label: t('email'), type: 'email', autocomplete: 'username', required: true }]} whole
      submit=${async (/** @type {object} */ values) => { await post('/session/reset', values); setSent(true); }} label=${t('forgotten.send')} />
    <p><a href=${to('queue')}>${t('sign.in')}</a></p><//>`;
}

/** @param {{token: string}} props */
function Link({ token }) {
  const [found, setFound] = useState(/** @type {any} */ (null));
  const [failed, setFailed] = useState('');
  useEffect(() => {
    post('/session/link/look', { token }).then(setFound, (error) => setFailed(error.status === 404 || error.status === 410 ? t(`link.${error.status}`) : said(error)));
  }, [token]);
  const { send, asked } = useSecondFactor(async (values) => {
    await enter(await post('/session/link', { token, ...values }));
    go(to('queue'), true);
  });
  if (failed) return html`<${Door} title=${t('link.dead')}><p>${failed}</p><p><a href=${to('queue')}>${t('sign.in')}</a></p><//>`;
  if (!found) return html`<${Door} title=${t('loading')} />`;
  const password = { name: 'password', label: t('password.new'), type: 'password', autocomplete: 'new-password', required: true, hint: t('password.hint') };
  const fields = asked ? [code()] : [
    ...(found.needs_email ? [{ name: 'email', label: t('email'), type: 'email', autocomplete: 'username', required: true }] : []),
    ...(found.purpose === 'reset' ? [] : [{ name: 'name', label: t('name'), autocomplete: 'name', maxlength: 100, required: true }]),
    password,
  ];
  return html`<${Door} title=${asked ? t('code.title') : t(`link.${found.purpose}`)}>
    ${!asked && html`<p>${t(`link.${found.purpose}.text`)}</p>`}
    <${Form} key=${asked ? 'code' : 'link'} fields=${fields} values=${{ name: found.name }} whole submit=${send} label=${t('link.go')} /><//>`;
}

/** @param {{view: string, id: string}} props */
export function View({ view, id }) {
  useStore(session);
  if (view === 'link') return html`<${Link} key=${id} token=${id} />`;
  return view === 'forgotten' ? html`<${Forgotten} />` : html`<${SignIn} />`;
}
