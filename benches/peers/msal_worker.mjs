// MSAL for Node as a worker. The first argument is the folder with `node_modules`. The program reads tasks from stdin
// and prints the CPU time of each task. With the argument `once` it gets one token, and prints its CPU time and its peak
// memory.
import { X509Certificate, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(`${process.argv[2]}/`);
const { ConfidentialClientApplication } = require('@azure/msal-node');

const authority = 'https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c';
const APP = '163ffef9-a313-45b4-ab2f-c7e2f5e0e23e';
const SECRET_APP = 'aa57c903-4e1d-4b62-8d08-73f9e5b1c264';
const SCOPE = ['https://graph.microsoft.com/.default'];
const EXCHANGE = ['api://AzureADTokenExchange/.default'];

const client = (clientId, credential) =>
  new ConfidentialClientApplication({ auth: { clientId, authority, ...credential } });
const token = async (application, scopes, skipCache) => {
  const answer = await application.acquireTokenByClientCredential({ scopes, skipCache });
  if (answer.fromCache === skipCache) throw new Error('the token is from the wrong source');
  return answer.accessToken;
};
const legs = () => {
  const pem = readFileSync(process.env.CERTBOUND_EMULATOR_CERTIFICATE, 'utf8');
  const leaf = new X509Certificate(pem);
  const leg1 = client(APP, {
    clientCertificate: {
      thumbprintSha256: createHash('sha256').update(leaf.raw).digest('hex'),
      privateKey: pem.slice(pem.indexOf('-----BEGIN PRIVATE KEY')),
      x5c: leaf.toString(),
    },
  });
  const leg2 = client(APP, { clientAssertion: () => token(leg1, EXCHANGE, true) });
  return () => token(leg2, SCOPE, true);
};
// Loads 10000 tokens as a serialized cache. `token` checks that each call is a hit.
const many = () => {
  const scopes = Array.from({ length: 10_000 }, (_, number) => `api://00000000-0000-4000-8000-${String(number).padStart(12, '0')}/.default`);
  const now = Math.floor(Date.now() / 1000);
  const entries = scopes.map((scope) => {
    const entry = {
      home_account_id: '', environment: 'login.microsoftonline.com', credential_type: 'AccessToken', client_id: SECRET_APP,
      realm: authority.split('/').pop(), target: scope, secret: 't'.repeat(1500), token_type: 'Bearer',
      cached_at: String(now), expires_on: String(now + 86399), extended_expires_on: String(now + 86399),
    };
    return [`-${entry.environment}-accesstoken-${SECRET_APP}-${entry.realm}-${scope}--`, entry];
  });
  const application = client(SECRET_APP, { clientSecret: 'certbound-emulator-secret' });
  application.getTokenCache().deserialize(JSON.stringify({ AccessToken: Object.fromEntries(entries) }));
  return () => token(application, [scopes[Math.floor(Math.random() * scopes.length)]], false);
};
const used = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

const application = client(SECRET_APP, { clientSecret: 'certbound-emulator-secret' });
await token(application, SCOPE, true);
if (process.argv.includes('once')) {
  console.log(used(), process.resourceUsage().maxRSS * 1024);
  process.exit(0);
}
const tasks = { hit: () => token(application, SCOPE, false), cold: () => token(application, SCOPE, true) };
for await (const line of createInterface({ input: process.stdin })) {
  const [name, count] = line.split(' ');
  tasks[name] ??= { pair: legs, many }[name]();
  const task = tasks[name];
  const before = used();
  for (let at = 0; at < Number(count); at += 1) await task();
  console.log(used() - before);
}
