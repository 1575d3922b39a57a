// The Azure SDK for Node (identity and Key Vault secrets) against the emulator.
//
// Argument: the folder with `node_modules`. Prints one JSON object: the result of each step, and the refusals.
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const { ClientSecretCredential } = require('@azure/identity');
const { SecretClient } = require('@azure/keyvault-secrets');

const TENANT = 'bea21ebe-8b64-4d06-9f6d-6a889b120a7c';
const WRITER = 'aa57c903-4e1d-4b62-8d08-73f9e5b1c264';
const SECRET = 'certbound-emulator-secret';

const client = new SecretClient(
  'https://demo.vault.azure.net',
  new ClientSecretCredential(TENANT, WRITER, SECRET),
);

const collected = async (pager) => {
  const all = [];
  for await (const item of pager) all.push(item);
  return all;
};
const names = async (pager) => (await collected(pager)).map((item) => item.name).sort();
const refused = async (action) => {
  try {
    await action();
    return 'nothing was refused';
  } catch (error) {
    return [error.name, error.statusCode, error.code];
  }
};
// The SDK's own pollers ask once before they wait.
const fast = { intervalInMs: 50 };

const result = { first: await names(client.listPropertiesOfSecrets()) };
const one = await client.setSecret('token', 'one');
const two = await client.setSecret('token', 'two', { contentType: 'text/plain', tags: { owner: 'contoso' } });
result.value = (await client.getSecret('token')).value;
result.oldValue = (await client.getSecret('token', { version: one.properties.version })).value;
result.versions = (await collected(client.listPropertiesOfSecretVersions('token'))).length;
const updated = await client.updateSecretProperties('token', two.properties.version, { enabled: false });
result.updated = [updated.enabled, updated.contentType, updated.tags];
result.disabled = await refused(() => client.getSecret('token'));
await client.updateSecretProperties('token', two.properties.version, { enabled: true });
const pages = [];
for await (const page of client.listPropertiesOfSecrets().byPage({ maxPageSize: 2 })) pages.push(page.length);
result.pages = pages;
await (await client.beginDeleteSecret('token', fast)).pollUntilDone();
result.deleted = await names(client.listDeletedSecrets());
result.taken = await refused(() => client.setSecret('token', 'three'));
await (await client.beginRecoverDeletedSecret('token', fast)).pollUntilDone();
result.recovered = (await client.getSecret('token')).value;
await (await client.beginDeleteSecret('token', fast)).pollUntilDone();
await client.purgeDeletedSecret('token');
result.purged = [await names(client.listDeletedSecrets()), await refused(() => client.getSecret('token'))];
result.backup = await refused(() => client.backupSecret('demo'));
console.log(JSON.stringify(result));
