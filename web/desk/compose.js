// Writing: a reply as staff, or a correction of what somebody wrote.
import { html, useLayoutEffect, useRef, useState } from './vendor/preact-htm.js';
import { Failure, said } from './api.js';
import { correct, reply } from './decide.js';
import { t } from './words.js';

/** What is being written stays when one looks at another comment. @type {Map<string, string>} */
const drafts = new Map();

/** @param {{row: import('./types.js').Row, mode: string, done: () => void}} props */
export function Composer({ row, mode, done }) {
  const key = `${mode} ${row.id}`;
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState('');
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  // Before the next key is pressed: outside of the form keys decide.
  useLayoutEffect(() => area.current?.focus(), []);
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!form.current || busy) return;
    const values = new FormData(form.current);
    const text = (/** @type {string} */ name) => String(values.get(name) ?? '').trim();
    setBusy(true);
    try {
      if (mode === 'reply') await reply(row, text('body'));
      else await correct(row, { name: text('name'), website: text('website') || null, body: text('body') });
      drafts.delete(key);
      done();
    } catch (error) {
      const faults = error instanceof Failure ? error.faults.map((fault) => fault.message) : [];
      setWrong([said(error), ...faults].join(' '));
      setBusy(false);
    }
  };
  const hear = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.current?.requestSubmit();
    if (event.key === 'Escape') done();
  };
  const keep = () => {
    if (drafts.size > 50) drafts.clear();
    drafts.set(key, area.current?.value ?? '');
  };
  return html`
    <form class="compose" ref=${form} onSubmit=${send} onKeyDown=${hear}>
      ${mode === 'edit' && html`
        <label>${t('name')}<input name="name" defaultValue=${row.name} maxlength="200" required /></label>
        <label>${t('website')}<input name="website" type="url" defaultValue=${row.website ?? ''} /></label>`}
      <label>${mode === 'edit' ? t('text') : t('reply.label', { name: row.name })}
        <textarea name="body" rows="5" required ref=${area} onInput=${keep} aria-describedby="compose-hint" defaultValue=${drafts.get(key) ?? (mode === 'edit' ? row.body : '')}></textarea></label>
      <p id="compose-hint" class="hint">${mode === 'reply' && row.status === 'pending' ? `${t('reply.approves')} ` : ''}${t('compose.keys')}</p>
      ${wrong && html`<p class="note" role="alert">⚠ ${wrong}</p>`}
      <button class="primary" disabled=${busy}>${mode === 'edit' ? t('save') : t('reply.send')}</button>
      <button type="button" onClick=${done}>${t('cancel')}</button>
    </form>`;
}
