// One key for each thing that one does often. They rest while something is typed, and can be switched off.
import { html, useEffect, useRef } from './vendor/preact-htm.js';
import { store, useStore } from './store.js';
import { t } from './words.js';

/** The keys, in the order in which the help shows them. */
export const KEYS = ['j', 'k', 'a', 'r', 's', 'h', 'c', 'e', 'b', 'u', 'x', '*', 'n', '/', '?'];

const OFF = 'afterword.keys-off';
export const keys = store({ off: localStorage.getItem(OFF) === '1', help: false });

/** @param {boolean} off */
function switchKeys(off) {
  localStorage.setItem(OFF, off ? '1' : '0');
  keys.set({ off });
}

/** @param {KeyboardEvent} event */
function isTyping(event) {
  const at = event.target;
  return at instanceof HTMLElement && (at.isContentEditable || at.matches('textarea, select, input:not([type=checkbox])'));
}

/**
 * Hears keys while a component is shown.
 * @param {Record<string, () => void>} commands by key
 */
export function useKeys(commands) {
  const now = useRef(commands);
  now.current = commands;
  useEffect(() => {
    const hear = (/** @type {KeyboardEvent} */ event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && !'jk'.includes(event.key)) return;
      if (event.defaultPrevented || isTyping(event) || document.querySelector('dialog[open]')) return;
      const command = now.current[event.key];
      if (!command || (keys.get().off && event.key !== '?')) return;
      event.preventDefault();
      command();
    };
    addEventListener('keydown', hear);
    return () => removeEventListener('keydown', hear);
  }, []);
}

export function Help() {
  const { help, off } = useStore(keys);
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    if (help && !dialog.current?.open) dialog.current?.showModal();
    if (!help && dialog.current?.open) dialog.current?.close();
  }, [help]);
  return html`
    <dialog ref=${dialog} aria-labelledby="help-title" onClose=${() => keys.set({ help: false })}>
      ${help && html`
        <h2 id="help-title">${t('keys.title')}</h2>
        <dl class="keys">${KEYS.map((key) => html`<div><dt><kbd>${key}</kbd></dt><dd>${t(`key.${key}`)}</dd></div>`)}</dl>
        <label class="check"><input type="checkbox" checked=${!off} onChange=${() => switchKeys(!off)} /> ${t('keys.on')}</label>
        <form method="dialog"><button class="primary">${t('close')}</button></form>`}
    </dialog>`;
}
