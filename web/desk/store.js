// State that several parts of the page look at: who changes it tells all who show it.
import { useLayoutEffect, useReducer } from './vendor/preact-htm.js';

/**
 * @template T
 * @param {T} state
 * @returns {import('./types.js').Store<T>}
 */
export function store(state) {
  /** @type {Set<() => void>} */
  const listeners = new Set();
  return {
    get: () => state,
    set(patch) {
      state = { ...state, ...patch };
      for (const listener of [...listeners]) listener();
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * The state, in a component that is drawn again whenever it changes.
 * @template T
 * @param {import('./types.js').Store<T>} of
 * @returns {T}
 */
export function useStore(of) {
  const [, again] = useReducer((/** @type {number} */ n, /** @type {void} */ _) => n + 1, 0);
  useLayoutEffect(() => of.listen(() => again(undefined)), [of]);
  return of.get();
}
