// One comment by its address: what the log, the mails and a simulation lead to.
import { html, useEffect, useState } from './vendor/preact-htm.js';
import { get, said } from './api.js';
import { Comment } from './comment.js';
import { Page } from './form.js';
import { currentRow, queue, WAITING } from './queue.js';
import { useStore } from './store.js';
import { t } from './words.js';

/** @param {{id: string}} props */
export function View({ id }) {
  useStore(queue);
  const [failed, setFailed] = useState('');
  const [mode, compose] = useState('');
  useEffect(() => {
    // The list is this comment alone, so that what decides finds it where it always is.
    queue.set({ filter: { ...WAITING, status: 'all', sort: 'newest' }, rows: [], current: id, selected: new Set(), next: null, loading: false });
    get(`/moderation/comments/${id}`).then((row) => queue.set({ rows: [row], current: row.id }), (error) => setFailed(said(error)));
  }, [id]);
  const row = currentRow();
  return html`<${Page} title=${t('comment.title')}>
    ${failed ? html`<p class="note" role="alert">⚠ ${failed}</p>` : html`<${Comment} row=${row} mode=${mode} compose=${(/** @type {string} */ to) => compose(to === mode ? '' : to)} nothing=${t('loading')} />`}<//>`;
}
