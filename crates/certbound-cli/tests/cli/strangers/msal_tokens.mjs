// Confidential clients of MSAL for Node. They do not support proxies; the isolated network leads them to the emulator.
//
// Argument: the folder with `node_modules`. The program prints one JSON object: the result of each credential, and each
// refusal with MSAL's error class.
import { X509Certificate, createHash, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const { ClientAuthError, ConfidentialClientApplication, InteractionRequiredAuthError, ServerError } =
  require('@azure/msal-node');

const AUTHORITY = 'https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c';
const APP = '163ffef9-a313-45b4-ab2f-c7e2f5e0e23e';
const SECRET_APP = 'aa57c903-4e1d-4b62-8d08-73f9e5b1c264';
const SECRET = 'certbound-emulator-secret';
const GRAPH = 'https://graph.microsoft.com/.default';
const EXCHANGE = 'api://AzureADTokenExchange/.default';

const client = (credential, clientId = APP) =>
  new ConfidentialClientApplication({ auth: { clientId, authority: AUTHORITY, ...credential } });

const pem = readFileSync(process.env.CERTBOUND_EMULATOR_CERTIFICATE, 'utf8');
const leaf = new X509Certificate(pem);
const certificateOf = (privateKey) => ({
  clientCertificate: {
    thumbprintSha256: createHash('sha256').update(leaf.raw).digest('hex'),
    privateKey,
    x5c: leaf.toString(),
  },
});
const byCertificate = certificateOf(pem.slice(pem.indexOf('-----BEGIN PRIVATE KEY')));
const certificate = client(byCertificate);
const otherKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' });

const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
const obtained = async (application) => {
  const answer = await application.acquireTokenByClientCredential({ scopes: [GRAPH] });
  const content = claims(answer.accessToken);
  const call = await fetch('https://graph.microsoft.com/v1.0/applications', {
    headers: { authorization: `${answer.tokenType} ${answer.accessToken}` },
  });
  const again = await application.acquireTokenByClientCredential({ scopes: [GRAPH] });
  return {
    tokenType: answer.tokenType,
    fromCache: answer.fromCache,
    cnf: content.cnf ?? null,
    appidacr: content.appidacr,
    resource: call.status,
    again: again.fromCache,
  };
};
const refused = async (application, scope = GRAPH) => {
  try {
    await application.acquireTokenByClientCredential({ scopes: [scope] });
    return 'nothing was refused';
  } catch (error) {
    const kind = [InteractionRequiredAuthError, ServerError, ClientAuthError].find((it) => error instanceof it);
    return [kind?.name ?? String(error), error.errorCode, /AADSTS(\d+)/.exec(error.errorMessage)?.[1], error.errorNo];
  }
};

// The emulator's admin interface: faults, the clock, the journal.
const control = async (method, path, body) => {
  const answer = await fetch(`${process.env.CERTBOUND_EMULATOR_ADMIN}/${path}`, { method, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return answer.json();
};
const CHALLENGE = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}';
// Returns MSAL's report of a claims challenge, and whether the next request sends the claims and bypasses the cache.
const challenged = async (application) => {
  const request = { scopes: [GRAPH] };
  await application.acquireTokenByClientCredential(request);
  const refusal = { aadsts: 53003, suberror: 'message_only', claims: CHALLENGE };
  await control('POST', 'faults', { condition: { path_contains: '/oauth2/v2.0/token' }, result: { refusal } });
  const error = await application.acquireTokenByClientCredential({ ...request, skipCache: true }).catch((it) => it);
  const answer = await application.acquireTokenByClientCredential({ ...request, claims: error.claims });
  const { entries } = await control('GET', 'journal');
  return {
    error: [error instanceof InteractionRequiredAuthError, error.errorCode, error.subError, error.errorNo],
    claims: error.claims,
    fromCache: answer.fromCache,
    sent: JSON.parse(Object.fromEntries(entries.at(-1).parameters).claims).access_token,
  };
};

const assertion = (await certificate.acquireTokenByClientCredential({ scopes: [EXCHANGE] })).accessToken;
const notForExchange = (await certificate.acquireTokenByClientCredential({ scopes: ['api://orders/.default'] }))
  .accessToken;
const result = {
  secret: await obtained(client({ clientSecret: SECRET }, SECRET_APP)),
  certificate: await obtained(certificate),
  assertion: await obtained(client({ clientAssertion: assertion })),
  callback: await obtained(client({ clientAssertion: async () => assertion })),
  refused: {
    'wrong secret': await refused(client({ clientSecret: 'not the secret' }, SECRET_APP)),
    'unknown application': await refused(client({ clientSecret: SECRET }, '00000000-0000-4000-8000-000000000001')),
    'unknown resource': await refused(certificate, 'https://nowhere.example/.default'),
    'another key': await refused(client(certificateOf(otherKey))),
    'assertion for another audience': await refused(client({ clientAssertion: notForExchange })),
    'no assertion at all': await refused(client({ clientAssertion: 'nonsense' })),
  },
  challenged: await challenged(client({ clientSecret: SECRET }, SECRET_APP)),
};
// This is the last step, because it moves the clock: the tokens from above are expired.
await control('PUT', 'clock', { advance_seconds: 3 * 3600 });
result.refused['expired assertion'] = await refused(client({ clientAssertion: async () => assertion }));
result.refused['expired proof by certificate'] = await refused(client(byCertificate));
console.log(JSON.stringify(result));
