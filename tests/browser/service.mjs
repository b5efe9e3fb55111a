// Starts the built program in a folder of its own, sends comments to it, and reads the mails that it wrote. For tests in a
// browser; `target/browser` has playwright-core, which scripts/install-test-tools puts there.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as wait } from 'node:timers/promises';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const { chromium } = createRequire(join(root, 'target/browser/'))('playwright-core');

export const testdata = resolve(root, '../shared/testdata');

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((ready) => server.on('listening', ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/**
 * Starts it; `setup` is the one-time link to the first administrator that it prints. `limits`: whether the rate limits hold;
 * `administrator`: whether there is one already; `host`: by what name it is reached.
 */
export async function start({ limits = false, administrator = false, host = '127.0.0.1' } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'afterword-'));
  const port = await freePort();
  const url = `http://${host}:${port}`;
  const env = {
    AFTERWORD__SERVER__LISTEN: `127.0.0.1:${port}`,
    AFTERWORD__SERVER__PUBLIC_URL: url,
    AFTERWORD__LIMITS__ENABLED: String(limits),
    AFTERWORD__MAIL__HOURLY_CEILING: '10000',
    AFTERWORD__LOG__LEVEL: 'error',
  };
  const program = process.env.AFTERWORD ?? join(root, 'target/debug/afterword');
  const run = (...args) => {
    const done = spawnSync(program, args, { cwd: folder, env, encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`${args.join(' ')}: ${done.stderr}`);
    return done.stdout.trim();
  };
  run('account', 'add', '--email', 'mod@example.org', '--role', 'moderator', '--site', 'default');
  if (administrator) run('account', 'add', '--email', 'admin@example.org', '--role', 'admin');
  const admin = administrator && run('token', 'create', '--account', 'admin@example.org', '--name', 'test');
  const token = run('token', 'create', '--account', 'mod@example.org', '--name', 'test');
  const child = spawn(program, ['serve'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => { said += text; if (!/^\s*$|admin\/#\/link|Nobody|afterword|TOKEN|curl/.test(text)) process.stderr.write(text); });
  }
  for (let tries = 0; ; tries += 1) {
    if (tries > 300) throw new Error('the service does not answer');
    try {
      if ((await fetch(`${url}/healthz`)).ok) break;
    } catch {
      await wait(100);
    }
  }
  const post = (path, body, headers = {}) =>
    fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });
  const mailFolder = join(folder, 'data/mail');
  return {
    url,
    folder,
    run,
    token,
    setup: () => /\S+\/admin\/#\/link\/\S+/.exec(said)?.[0],
    submit: (body) => post('/api/v1/sites/default/comments', body),
    moderate: (path, body = {}) => post(`/api/v1/moderation${path}`, body, { authorization: `Bearer ${token}` }),
    moderated: async (path) => (await fetch(`${url}/api/v1/moderation${path}`, { headers: { authorization: `Bearer ${token}` } })).json(),
    admin: (method, path, body) =>
      fetch(url + path, { method, headers: { 'content-type': 'application/json', authorization: `Bearer ${admin}` }, body: JSON.stringify(body) }),
    /** The mails so far, when there are as many as that. */
    async mails(count) {
      for (let tries = 0; tries < 1200; tries += 1) {
        const names = existsSync(mailFolder) ? readdirSync(mailFolder).filter((name) => name.endsWith('.eml')) : [];
        if (names.length >= count) return names.sort().map((name) => read(readFileSync(join(mailFolder, name), 'utf8')));
        await wait(100);
      }
      throw new Error(`${count} mails did not come`);
    },
    async stop() {
      child.kill('SIGTERM');
      await new Promise((ended) => child.on('exit', ended));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Names of the headers and the two parts of a mail, decoded. */
function read(mail) {
  const [head, ...rest] = mail.split('\r\n\r\n');
  const headers = head.split('\r\n').filter((line) => !/^[ \t]/.test(line)).map((line) => line.split(':')[0]);
  const boundary = /boundary="([^"]+)"/.exec(head)[1];
  const [, text, html] = rest.join('\r\n\r\n').split(`--${boundary}`).map(decoded);
  return { headers, head, text, html, links: [...new Set(html.match(/http:&#x2f;&#x2f;[^"]*&#x2f;m&#x2f;[^"]+/g))].map(unescaped) };
}

const unescaped = (text) => text.replaceAll('&#x2f;', '/');

function decoded(part) {
  const at = part.indexOf('\r\n\r\n');
  const [head, body] = [part.slice(0, at).toLowerCase(), part.slice(at + 4)];
  if (head.includes('base64')) return Buffer.from(body, 'base64').toString();
  if (!head.includes('quoted-printable')) return body;
  const joined = body.replaceAll('=\r\n', '');
  return Buffer.from(joined.replace(/=([0-9A-F]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16))), 'latin1').toString();
}

export function browser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
}
