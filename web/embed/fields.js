// @ts-check
/** How forms look, and the English of what they say. */
import { forms } from './language/en-forms.js';

const fields = new CSSStyleSheet();
fields.replaceSync(`
:host {
  --ok: var(--aw-ok, light-dark(#1a7f4b, #57d08c));
  --bad: var(--aw-bad, light-dark(#b42318, #ff8a80));
}
input, textarea { font: inherit; color: inherit; }
h3 { font-size: 1.125em; margin-bottom: 4px; }
.foot { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0 12px; color: var(--muted); font-variant-numeric: tabular-nums; }
.foot, .own, .status, .fault { font-size: .875em; }
.foot .quiet { font-size: inherit; }
.own { margin: 12px 0 0; }
.status { min-height: 1.55em; margin: 0 0 8px; }
.status.good { color: var(--ok); }
.fault, .bad { color: var(--bad); }
form { padding: 24px 0 0; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; }
.field { margin-bottom: 12px; }
label { display: block; margin-bottom: 4px; }
.field input, textarea { width: 100%; min-height: 44px; padding: 8px 12px; border: 1px solid var(--field); border-radius: 6px; background: transparent; }
textarea { min-height: 8em; max-height: 60vh; resize: vertical; field-sizing: content; }
[aria-invalid] { border-color: var(--bad); box-shadow: 0 0 0 1px var(--bad); }
.fault { margin: 4px 0 0; }
.check { display: flex; gap: 8px; align-items: center; min-height: 44px; margin: 0; }
.check input { width: 20px; height: 20px; margin: 0; flex: none; accent-color: var(--accent); }
.trap { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
fieldset { border: 0; padding: 0; margin: 0 0 12px; }
.primary { background: var(--accent); color: var(--on-accent); font-weight: 600; padding: 8px 24px; }
.primary[aria-disabled=true] { background: var(--raised); color: var(--muted); cursor: default; }
@media (max-width: 480px) {
  .pair { grid-template-columns: 1fr; }
  .submit { width: 100%; }
}
`);

/** Forms bring their style and their words with them. @param {import('./thread.js').Thread} thread */
export function dress({ host, words }) {
  const root = /** @type {ShadowRoot} */ (host.shadowRoot);
  if (root.adoptedStyleSheets.includes(fields)) return;
  root.adoptedStyleSheets.push(fields);
  words.texts = { ...forms, ...words.texts };
}
