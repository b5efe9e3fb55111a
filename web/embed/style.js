// @ts-check
/** The host's font and colour, and of our own only spacing, hairlines and one accent. */
const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host {
  --accent: var(--aw-accent, light-dark(#1f5fbf, #7fb0ff));
  --on-accent: var(--aw-on-accent, light-dark(#fff, #10151c));
  --muted: var(--aw-muted, light-dark(#5b6470, #9aa4b2));
  --line: var(--aw-line, light-dark(#d9dee5, #303846));
  --field: var(--aw-field, #7a8594);
  --raised: var(--aw-raised, light-dark(#f6f7f9, #1b212b));
  --warn: var(--aw-warn, light-dark(#9a6700, #e3b341));
  --indent: 20px;
  line-height: 1.55;
  background: var(--aw-surface, transparent);
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
section { position: relative; max-width: 70ch; overflow-wrap: anywhere; }
h2, h3, p, ol, ul, pre, blockquote { margin: 0 0 12px; }
h2 { font-size: 1.375em; line-height: 1.25; margin: 0; }
a { color: var(--accent); }
ol.list { list-style: none; padding: 0; margin: 0; }
.head, .by, .does, .liked { display: flex; flex-wrap: wrap; align-items: center; gap: 0 12px; }
.head { justify-content: space-between; border-bottom: 1px solid var(--line); padding-bottom: 4px; min-height: 49px; }
.liked { min-height: 44px; margin-bottom: 24px; }
.muted, .by, .does { font-size: .875em; }
.muted, time, .mark { color: var(--muted); }
li.item { padding: 16px 0 4px; margin-inline-start: calc(var(--indent) * var(--depth, 0)); border-bottom: 1px solid var(--line); scroll-margin-top: var(--aw-offset, 16px); }
article { display: grid; grid-template-columns: 36px minmax(0, 1fr); column-gap: 12px; }
article:has(> .by:first-child) { display: block; }
article:focus { outline: 0; }
.avatar { width: 36px; height: 36px; border-radius: 50%; background: var(--raised); }
.by { align-self: center; gap: 0 8px; }
.by b { font-size: calc(1em / .875); }
.by a { text-decoration: none; }
.badge { border: 1px solid; border-radius: 6px; padding: 0 6px; }
.body, .does, .under, .gone { grid-column: 2; min-width: 0; }
.body > :last-child { margin-bottom: 0; }
.body { margin: 4px 0; }
.waits .badge { color: var(--warn); }
.waits > article { border-inline-start: 2px solid var(--warn); padding-inline-start: 10px; }
.named > article { background: var(--raised); box-shadow: 0 0 0 8px var(--raised); border-radius: 6px; }
blockquote { padding-inline-start: 16px; border-inline-start: 2px solid var(--line); }
code { background: var(--raised); padding: 2px 4px; border-radius: 4px; font-size: .875em; }
pre { background: var(--raised); padding: 12px; border-radius: 6px; overflow-x: auto; }
pre code { padding: 0; }
hr { border: 0; border-top: 1px solid var(--line); }
button { font: inherit; color: inherit; }
button { min-height: 44px; min-width: 44px; cursor: pointer; border: 0; border-radius: 6px; background: none; }
.quiet { color: var(--muted); padding: 0 4px; font-size: .875rem; }
.quiet:hover, .quiet[aria-pressed=true] { color: var(--accent); }
.quiet[aria-pressed=true] { font-weight: 600; }
.does .quiet { font-size: inherit; }
.does { margin-inline-start: -4px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.hear { position: absolute; width: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.notice { position: sticky; top: 8px; height: 0; z-index: 1; text-align: center; }
.notice button { background: var(--accent); color: var(--on-accent); padding: 0 16px; box-shadow: 0 1px 6px #0004; }
.end:empty, .end:has(form) { min-height: var(--end, 41rem); }
.empty { padding: 24px 0; margin: 0; color: var(--muted); }
@media (max-width: 480px) {
  :host { --indent: 12px; --end: 49rem; }
}
@media (prefers-reduced-motion: no-preference) {
  .named > article { transition: background-color .15s, box-shadow .15s; }
}
`);
export { sheet };
