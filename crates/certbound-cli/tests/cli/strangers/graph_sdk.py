"""The Graph SDK for Python: reads applications, and changes federated credentials and certificates.

Prints one JSON object with the results. The last steps use the changes: azure-identity exchanges a token with the federated
credential, and proves itself with the certificate.
"""

import asyncio
import json
import os

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientAssertionCredential, ClientSecretCredential
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.applications.applications_request_builder import ApplicationsRequestBuilder
from msgraph.generated.models.application import Application
from msgraph.generated.models.federated_identity_credential import FederatedIdentityCredential
from msgraph.generated.models.key_credential import KeyCredential
from msgraph.generated.models.o_data_errors.o_data_error import ODataError

TENANT = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c"
APP = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e"
APP_PRINCIPAL = "0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3"
WITH_SECRET = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264"
VAULT = "https://vault.azure.net/.default"
CERTIFICATE = os.environ["CERTBOUND_EMULATOR_CERTIFICATE"]


def applications_query(**options):
    parameters = ApplicationsRequestBuilder.ApplicationsRequestBuilderGetQueryParameters(**options)
    return RequestConfiguration(query_parameters=parameters)


async def all_pages(graph):
    """Returns the client ids of all applications, page by page."""
    pages = []
    page = await graph.applications.get(applications_query(top=2, select=["id", "appId"]))
    while True:
        pages.append([application.app_id for application in page.value])
        if not page.odata_next_link:
            return pages
        page = await graph.applications.with_url(page.odata_next_link).get()


def outcome(credential):
    """Returns `token`, or the number of the refusal. Each call uses a credential that has cached nothing."""
    try:
        credential.get_token(VAULT)
        return "token"
    except ClientAuthenticationError as error:
        return str(error).split("AADSTS")[1].split(":")[0]


def by_federation():
    # The application trusts the subject of the certificate, so the assertion must contain the certificate.
    leg_1 = CertificateCredential(TENANT, APP, certificate_path=CERTIFICATE, send_certificate_chain=True)
    assertion = leg_1.get_token("api://AzureADTokenExchange/.default").token
    return outcome(ClientAssertionCredential(TENANT, WITH_SECRET, lambda: assertion))


def by_certificate():
    return outcome(CertificateCredential(TENANT, WITH_SECRET, certificate_path=CERTIFICATE))


async def refusal(request):
    try:
        await request
        return None
    except ODataError as error:
        return [error.response_status_code, error.error.code]


async def main():
    credential = ClientSecretCredential(TENANT, WITH_SECRET, "certbound-emulator-secret")
    graph = GraphServiceClient(credential, ["https://graph.microsoft.com/.default"])
    result = {"pages": await all_pages(graph)}
    found = await graph.applications.get(applications_query(filter=f"appId eq '{WITH_SECRET}'"))
    application = found.value[0]
    one = graph.applications.by_application_id(application.id)
    result["by_id"] = (await one.get()).app_id
    result["by_app_id"] = (await graph.applications_with_app_id(WITH_SECRET).get()).id == application.id
    principal = await graph.service_principals_with_app_id(APP).get()
    result["principal"] = principal.id
    organization = await graph.organization.get()
    result["organization"] = [organization.value[0].id, organization.value[0].verified_domains[0].name]

    credentials = one.federated_identity_credentials
    body = FederatedIdentityCredential(
        name="added",
        issuer=f"https://login.microsoftonline.com/{TENANT}/v2.0",
        subject=APP_PRINCIPAL,
        audiences=["api://AzureADTokenExchange"],
    )
    federation = [by_federation()]
    added = await credentials.post(body)
    federation.append(by_federation())
    result["twice"] = await refusal(credentials.post(body))
    listed = (await credentials.get()).value
    result["listed"] = [[it.name, it.subject, it.audiences] for it in listed]
    chosen = credentials.by_federated_identity_credential_id(added.id)
    await chosen.patch(FederatedIdentityCredential(description="changed"))
    result["description"] = (await chosen.get()).description
    await chosen.delete()
    federation.append(by_federation())
    result["gone"] = await refusal(chosen.get())
    result["federation"] = federation

    with open(CERTIFICATE, "rb") as file:
        der = x509.load_pem_x509_certificates(file.read())[0].public_bytes(serialization.Encoding.DER)
    certificate = [by_certificate()]
    key = KeyCredential(type="AsymmetricX509Cert", usage="Verify", key=der, display_name="added")
    await one.patch(Application(key_credentials=[key]))
    certificate.append(by_certificate())
    # The SDK sends back what it has read.
    await one.patch(Application(key_credentials=(await one.get()).key_credentials))
    certificate.append(by_certificate())
    await one.patch(Application(key_credentials=[]))
    certificate.append(by_certificate())
    result["certificate"] = certificate
    print(json.dumps(result))


asyncio.run(main())
