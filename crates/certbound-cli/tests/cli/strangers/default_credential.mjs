// DefaultAzureCredential of the Azure SDK for Node, on the emulated machine. Prints the owner of its token.
//
// Argument: the folder with `node_modules`.
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const { DefaultAzureCredential } = require('@azure/identity');

const { token } = await new DefaultAzureCredential().getToken('https://management.azure.com/.default');
const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
console.log(JSON.stringify({ owner: claims.oid }));
