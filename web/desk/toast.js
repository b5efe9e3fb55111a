// One line at the edge of the page about what was just done, with a way back; and what a screen reader says of it.
import { html } from './vendor/preact-htm.js';
import { store, useStore } from './store.js';
import { t } from './words.js';

/** Milliseconds in which something can be taken back by the button. */
export const UNDO_MS = 10_000;

const state = store({ toast: /** @type {import('./types.js').Toast | null} */ (null), said: '' });
let number = 0;

/** @param {string} text read aloud */
export function announce(text) {
  // The same sentence twice is a change all the same.
  state.set({ said: text === state.get().said ? `${text}\u00a0` : text });
}

/** @param {string} text @param {{undo?: () => void, bad?: boolean}} [how] */
export function toast(text, { undo, bad = false } = {}) {
  const id = (number += 1);
  state.set({ toast: { id, text, bad, undo } });
  announce(text);
  setTimeout(() => state.get().toast?.id === id && state.set({ toast: null }), UNDO_MS);
}

export const hideToast = () => state.set({ toast: null });

export function Toast() {
  const { toast: shown, said } = useStore(state);
  return html`
    <div class="said" aria-live="polite" role="status">${said}</div>
    ${shown && html`<div class=${`toast ${shown.bad ? 'bad' : ''}`} role="region" aria-label=${t('messages')}>
      <span>${shown.bad ? '⚠ ' : ''}${shown.text}</span>
      ${shown.undo && html`<button type="button" onClick=${() => { hideToast(); shown.undo?.(); }}>
        ${t('undo')} <kbd aria-hidden="true">u</kbd></button>`}
      <button type="button" class="quiet" aria-label=${t('close')} onClick=${hideToast}>✕</button>
    </div>`}`;
}
