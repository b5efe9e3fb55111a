// Words for what the service says in codes: states, and why a comment was held.
import { t } from './words.js';

/** @param {string} status */
export const state = (status) => t(`state.${status}`);

/** Why it was held, one plain sentence each; what a rule says comes from its author. @param {import('./types.js').Comment} comment */
export function reasons({ hold_reasons: all, spam_score: score }) {
  const said = all.map(({ code, detail }) => {
    const text = t(`why.${code}`);
    return text.startsWith('why.') ? detail : text;
  });
  return score === null ? said : [...said, t('why.score', { n: score })];
}
