// A QR code as a picture made of one path.
import { html } from './vendor/preact-htm.js';
import { encode } from './vendor/uqr.js';

/** @param {{text: string, label: string}} props */
export function Code({ text, label }) {
  const { size, data } = encode(text, { ecc: 'M', border: 2 });
  const dots = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ''))).join('');
  return html`<svg class="qr" role="img" aria-label=${label} viewBox=${`0 0 ${size} ${size}`} shape-rendering="crispEdges"><rect width=${size} height=${size} /><path d=${dots} /></svg>`;
}
