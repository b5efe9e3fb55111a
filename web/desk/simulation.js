// What a draft of a rule would have done with the comments that are there.
import { html, useEffect, useRef } from './vendor/preact-htm.js';
import { to } from './router.js';
import { state } from './say.js';
import { t } from './words.js';

/** @typedef {{status: string, before: string, after: string}} Course */
/** @typedef {Course & {id: string, excerpt: string}} Sample */
/** @typedef {{judged: number, without_address: number, changed: number, outcomes: (Course & {count: number})[], samples: Sample[]}} Found */

/** @param {{found: Found}} props */
export function Simulation({ found }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => place.current?.focus(), [found]);
  const changed = found.outcomes.filter((one) => one.before !== one.after);
  return html`<section class="simulation" tabindex="-1" ref=${place} aria-labelledby="simulation">
    <h2 id="simulation">${t('simulation.title')}</h2>
    <p>${t('simulation.judged', { n: found.judged })} <b>${t('simulation.changed', { n: found.changed })}</b> ${found.without_address > 0 && t('simulation.blind', { n: found.without_address })}</p>
    ${changed.length > 0 && html`<ul>${changed.map((one) => html`<li>${t('simulation.course', { n: one.count, from: state(one.before), to: state(one.after), now: state(one.status) })}</li>`)}</ul>`}
    ${found.samples.length > 0 && html`<ol class="samples">${found.samples.map((one) => html`<li key=${one.id}><a href=${to(`comment/${one.id}`)} dir="auto">${one.excerpt || '–'}</a> <span class="muted">${state(one.before)} → ${state(one.after)}</span></li>`)}</ol>`}
  </section>`;
}
