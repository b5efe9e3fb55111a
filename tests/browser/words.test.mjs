// The desk's texts: every language has every key, with the same gaps; every key that the code names is there, and none is
// there that nothing names. And the desk's types, as far as tsc sees them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const desk = join(root, 'web/desk');
const files = readdirSync(desk).filter((name) => name.endsWith('.js'));
const code = files.map((name) => readFileSync(join(desk, name), 'utf8')).join('\n');
const language = (name) => JSON.parse(readFileSync(join(desk, 'language', name), 'utf8'));
const languages = readdirSync(join(desk, 'language'));
const english = language('en.json');

/** What a text wants filled in, in any of its plurals. */
function gaps(text) {
  const all = typeof text === 'string' ? [text] : Object.values(text);
  return [...new Set(all.flatMap((one) => one.match(/\{\w+\}/g) ?? []))].sort();
}

for (const name of languages) {
  test(`${name} says what English says`, () => {
    const words = language(name);
    assert.deepEqual(Object.keys(words).sort(), Object.keys(english).sort());
    for (const [key, text] of Object.entries(words)) {
      assert.ok(typeof text === 'string' ? text : text.other, `${name}: ${key} is empty or has no "other"`);
      assert.deepEqual(gaps(text), gaps(english[key]), `${name}: ${key}`);
    }
  });
}

test('no key is missing and none is idle', () => {
  const named = [...code.matchAll(/\bt\(\s*'([^'/]+)'/g)].map((found) => found[1]);
  // t(`state.${…}`): every key of that beginning and end.
  const built = [...code.matchAll(/\bt\(\s*`([a-z.]+)\$\{.+?\}([a-z.]*)`/g)].map(([, head, tail]) => new RegExp(`^${head.replaceAll('.', '\\.')}.+${tail.replaceAll('.', '\\.')}$`));
  for (const key of named) assert.ok(key in english, `${key} is in no language file`);
  for (const pattern of built) assert.ok(Object.keys(english).some((key) => pattern.test(key)), `nothing is like ${pattern}`);
  const idle = Object.keys(english).filter((key) => !named.includes(key) && !built.some((pattern) => pattern.test(key)));
  assert.deepEqual(idle, []);
});

test('what the service can say has words', () => {
  const source = (name) => readFileSync(join(root, name), 'utf8');
  const numbers = (name) => [...source('src/domain/comment.rs').split(`    ${name} {`)[1].split('\n    }')[0].matchAll(/=> "(\w+)"/g)].map((found) => found[1]);
  for (const action of numbers('Action')) assert.ok(`action.${action}` in english, action);
  for (const via of numbers('Via')) assert.ok(`via.${via}` in english, via);
  for (const status of numbers('Status')) assert.ok(`state.${status}` in english, status);
  const reasons = [...source('src/domain/policy.rs').matchAll(/HoldReason::new\(\s*"(\w+)"/g)].map((found) => found[1]);
  reasons.push(...[...source('src/domain/policy.rs').matchAll(/Some\("(\w+)"\)/g)].map((found) => found[1]));
  reasons.push(/const FLAGGED: &str = "(\w+)"/.exec(source('src/service/feedback.rs'))[1]);
  assert.ok(reasons.length > 7);
  // A rule's own words are its author's.
  for (const reason of reasons.filter((reason) => reason !== 'rule')) assert.ok(`why.${reason}` in english, reason);
  for (const reason of [...source('src/domain/feedback.rs').split('FlagReason {')[1].split('\n    }')[0].matchAll(/=> "(\w+)"/g)].map((found) => found[1])) assert.ok(`flag.${reason}` in english, reason);
});

test('files are small and say first what they are for', () => {
  for (const name of files) {
    const lines = readFileSync(join(desk, name), 'utf8').split('\n');
    assert.ok(lines.length <= 400 && lines[0].startsWith('// '), name);
  }
});

test('the types agree', { timeout: 120_000 }, () => {
  const tsc = join(root, 'target/browser/node_modules/typescript/bin/tsc');
  const done = spawnSync(process.execPath, [tsc, '-p', join(root, 'tests/browser/tsconfig.json')], { encoding: 'utf8' });
  assert.equal(done.stdout + done.stderr, '');
  assert.equal(done.status, 0);
});
