// Managed identities with MSAL for Node, on the platform that the environment names.
//
// Arguments: the folder with `node_modules`, and `alone` for only the user-assigned identity: the library uses the
// first source of a process for all identities. The program prints one JSON object: the owners of the tokens, and the
// refusals.
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const { ManagedIdentityApplication } = require('@azure/msal-node');

const owner = async (params) => {
  try {
    const application = new ManagedIdentityApplication(params);
    const answer = await application.acquireToken({ resource: 'https://management.azure.com' });
    return JSON.parse(Buffer.from(answer.accessToken.split('.')[1], 'base64url').toString()).oid;
  } catch (error) {
    return error.errorCode ?? String(error);
  }
};
const userAssignedClientId = '98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514';
const result = {
  system: process.argv[3] === 'alone' ? undefined : await owner(undefined),
  user: await owner({ managedIdentityIdParams: { userAssignedClientId } }),
};
console.log(JSON.stringify(result));
