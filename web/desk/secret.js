// Something that is shown once, to be copied.
import { html, useEffect, useRef } from './vendor/preact-htm.js';
import { announce } from './toast.js';
import { t } from './words.js';

/** @param {{text: string, label: string}} props */
export function Secret({ text, label }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => place.current?.focus(), [text]);
  const copy = () => navigator.clipboard?.writeText(text).then(() => announce(t('copied')), () => {});
  return html`<section class="secret" tabindex="-1" ref=${place} aria-label=${label}><p>${label}</p>
    <pre>${text}</pre><button type="button" onClick=${copy}>${t('copy')}</button></section>`;
}
