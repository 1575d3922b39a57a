// A token service of other authors (oidc-provider), with a resource that checks its tokens by `jose`.
//
// Argument: a folder with tls.pem and tls.key.pem (the server's own), client.pem (the certificate of `self-signed`),
// ca.pem (the authorities of tls_client_auth) and clients.json (more clients: id, method, certificate, algorithm).
// The program prints one line of JSON when it listens, and ends when stdin is closed.
import { X509Certificate, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The packages are in the folder of the test's set-up, not beside this file.
const load = async (name) => import(pathToFileURL(createRequire(`${process.argv[3]}/`).resolve(name)));
const { Provider } = await load('oidc-provider');
const { SignJWT, createLocalJWKSet, exportJWK, generateKeyPair, importX509, jwtVerify } = await load('jose');

const folder = process.argv[2];
const file = (name) => readFileSync(`${folder}/${name}`);
const tls = { key: file('tls.key.pem'), cert: file('tls.pem') };

const listen = (options) =>
  new Promise((resolve) => {
    const server = createServer({ ...tls, ...options });
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
const plain = await listen({});
// The handshake accepts every certificate. `socket.authorized` shows whether one of the authorities issued it.
const mtls = await listen({ requestCert: true, rejectUnauthorized: false, ca: file('ca.pem') });
const url = (server) => `https://localhost:${server.address().port}`;

const signing = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: `key of ${alg}`, alg, use: 'sig' };
};
const signingKeys = await Promise.all(['RS256', 'PS256', 'ES256', 'EdDSA'].map(signing));
const certificate = new X509Certificate(file('client.pem'));
/** A certificate as `jwks` of its client: RFC 8705, section 2.2.2. */
const registration = async (of) => ({ ...(await exportJWK(of.publicKey)), x5c: [of.raw.toString('base64')] });
const registered = await registration(certificate);

const client = (client_id, token_endpoint_auth_method, more) => ({
  client_id,
  token_endpoint_auth_method,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  tls_client_certificate_bound_access_tokens: true,
  ...more,
});
const more = JSON.parse(file('clients.json'));
const registeredBy = {
  tls_client_auth: async (of) => ({ tls_client_auth_subject_dn: of.subject }),
  self_signed_tls_client_auth: async (of) => ({ jwks: { keys: [await registration(of)] } }),
};
const moreClients = more.map(async ({ id, method, certificate: name }) =>
  client(id, method, await registeredBy[method](new X509Certificate(file(name)))),
);
/** What a client's tokens are signed with. */
const algorithms = new Map(more.map(({ id, algorithm }) => [id, algorithm]));
const presented = (ctx) => {
  const peer = ctx.req.socket.getPeerCertificate?.();
  return peer?.raw ? new X509Certificate(peer.raw) : undefined;
};
const provider = new Provider(url(plain), {
  clients: [
    client('by-name', 'tls_client_auth', { tls_client_auth_subject_dn: certificate.subject }),
    client('self-signed', 'self_signed_tls_client_auth', { jwks: { keys: [registered] } }),
    client('unbound', 'tls_client_auth', {
      tls_client_auth_subject_dn: certificate.subject,
      tls_client_certificate_bound_access_tokens: false,
    }),
    client('secret', 'client_secret_post', {
      client_secret: 'correct horse battery staple',
      tls_client_certificate_bound_access_tokens: false,
    }),
    client('signed', 'private_key_jwt', {
      jwks: { keys: [{ ...registered, x5c: undefined }] },
      tls_client_certificate_bound_access_tokens: false,
    }),
    ...(await Promise.all(moreClients)),
  ],
  jwks: { keys: signingKeys },
  clientAuthMethods: [
    'client_secret_post',
    'private_key_jwt',
    ...(process.argv[4] === 'no-certificates' ? [] : ['tls_client_auth', 'self_signed_tls_client_auth']),
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: presented,
      certificateAuthorized: (ctx) => ctx.req.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => presented(ctx)?.subject === expected,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:orders',
      getResourceServerInfo: (ctx, resource, { clientId }) => ({
        scope: 'read',
        audience: 'urn:orders',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: algorithms.get(clientId) ?? 'RS256' } },
      }),
    },
  },
  discovery: { mtls_endpoint_aliases: { token_endpoint: `${url(mtls)}/token` } },
});
provider.on('server_error', (ctx, error) => console.error(error));
const answer = provider.callback();
plain.on('request', answer);

const publicMembers = ({ kty, crv, n, e, x, y, kid, alg }) => ({ kty, crv, n, e, x, y, kid, alg });
const keys = createLocalJWKSet({ keys: signingKeys.map(publicMembers) });
/** The resource: signature, issuer and audience by jose, then the binding (RFC 8705, section 3). */
const resource = async (request, response) => {
  const say = (status, text) => response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
  try {
    const [scheme, token] = (request.headers.authorization ?? '').split(' ');
    if (scheme !== 'Bearer') return say(401, `scheme ${scheme}`);
    const { payload } = await jwtVerify(token, keys, { issuer: url(plain), audience: 'urn:orders' });
    const peer = request.socket.getPeerCertificate();
    const thumbprint = peer?.raw && createHash('sha256').update(peer.raw).digest('base64url');
    if (!payload.cnf?.['x5t#S256'] || payload.cnf['x5t#S256'] !== thumbprint) return say(401, 'not bound');
    return say(200, `orders of ${payload.client_id}`);
  } catch (error) {
    return say(401, String(error));
  }
};
mtls.on('request', (request, response) =>
  request.url.startsWith('/orders') ? resource(request, response) : answer(request, response),
);

console.log(JSON.stringify({ issuer: url(plain), resource: `${url(mtls)}/orders` }));
process.stdin.resume().on('end', () => process.exit(0));
