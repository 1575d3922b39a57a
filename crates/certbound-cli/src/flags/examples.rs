//! The examples at the end of each command's `--help`. A line has at most 60 columns, so that clap does not break it.

pub(crate) const ROOT: &str = "\
Examples:
  The whole flow, without a tenant:
    certbound demo
  A managed identity calls a vault, all of it emulated:
    certbound emulator run -- certbound call \\
      --managed-identity system \\
      https://demo.vault.azure.net/secrets/demo
  The reason why a configuration does not work:
    certbound doctor --leg1-certificate app.pem \\
      --client-id ID --tenant TENANT \\
      --scope https://graph.microsoft.com/.default";

pub(crate) const DEMO: &str = "\
Examples:
  certbound demo
  certbound demo --all
  certbound demo -o json";

pub(crate) const TOKEN: &str = "\
Examples:
  A bound token by a certificate:
    certbound token --certificate app.pem \\
      --client-id ID --tenant TENANT \\
      --scope https://vault.azure.net/.default
  A bound token by the managed identity of this machine:
    certbound token --managed-identity system \\
      --scope https://vault.azure.net/.default
  A Bearer token as a header for another program:
    curl https://orders.example/ -H \"$(certbound token \\
      --bearer -o header --managed-identity system \\
      --scope api://orders/.default)\"";

pub(crate) const ASSERTION: &str = "\
Examples:
  certbound assertion --certificate app.pem \\
    --client-id ID --tenant TENANT -o raw > assertion.jwt
  certbound assertion --managed-identity system -o json";

pub(crate) const EXCHANGE: &str = "\
Examples:
  Both legs with one certificate:
    certbound exchange --leg1-certificate app.pem \\
      --client-id ID --tenant TENANT --region westus3 \\
      --scope https://vault.azure.net/.default
  Leg 1 by the managed identity of this machine:
    certbound exchange --leg1-managed-identity system \\
      --client-id ID --tenant TENANT \\
      --scope https://vault.azure.net/.default
  Each leg in its own command:
    certbound assertion --certificate app.pem \\
      --client-id ID --tenant TENANT -o raw > assertion.jwt
    certbound exchange --assertion-file assertion.jwt \\
      --certificate app.pem --client-id ID --tenant TENANT \\
      --scope https://vault.azure.net/.default";

pub(crate) const CALL: &str = "\
Examples:
  By the two-leg flow:
    certbound call --leg1-certificate app.pem \\
      --client-id ID --tenant TENANT \\
      https://demo.vault.azure.net/secrets/demo
  By the direct flow, with a body:
    certbound call --managed-identity system \\
      --scope api://orders/.default -X POST -d @order.json \\
      https://orders.example/orders";

pub(crate) const DOCTOR: &str = "\
Examples:
  The command line of `exchange`, with another command:
    certbound doctor --leg1-certificate app.pem \\
      --client-id ID --tenant TENANT --region westus3 \\
      --scope https://graph.microsoft.com/.default
  Also the federated credentials of Leg 2, and a resource:
    az ad app federated-credential list --id ID |
    certbound doctor --profile orders \\
      --scope https://graph.microsoft.com/.default \\
      --federated-credential - --resource-url \\
      'https://mtlstb.graph.microsoft.com/v1.0/organization'
  The checks that send no request:
    certbound doctor --leg1-certificate app.pem \\
      --client-id ID --tenant TENANT --dry-run \\
      --scope https://graph.microsoft.com/.default";

pub(crate) const ENDPOINT: &str = "\
Examples:
  certbound endpoint --region westus3 --mtls --authority \\
    https://login.microsoftonline.com/TENANT";

pub(crate) const CAPABILITIES: &str = "\
Examples:
  certbound capabilities
  certbound capabilities --managed-identity client-id:GUID
  certbound emulator run -- certbound capabilities";

pub(crate) const INSPECT: &str = "\
Examples:
  certbound inspect - --certificate app.pem < token.jwt
  certbound assertion --managed-identity system -o raw |
    certbound inspect -";

pub(crate) const VERIFY: &str = "\
Examples:
  The decision about one token:
    certbound verify --tenant TENANT --audience AUDIENCE \\
      --require-role Orders.Read.All \\
      --certificate client.pem - < token.jwt
  The decisions for nginx on the same machine:
    certbound verify --tenant TENANT --audience AUDIENCE \\
      --require-role Orders.Read.All \\
      --serve 127.0.0.1:9000 --certificate-header nginx \\
      --trust-proxy 127.0.0.1/32";

pub(crate) const HEALTH: &str = "\
Examples:
  certbound health 127.0.0.1:9090
  certbound health unix:/run/certbound/admin.sock";

pub(crate) const EXPLAIN: &str = "\
Examples:
  certbound explain invalid_tenant
  certbound explain AADSTS700027
  certbound explain --list expired";

pub(crate) const EMULATOR_START: &str = "\
Examples:
  certbound emulator start -o shell > emulator.sh &
  . ./emulator.sh  # after the emulator has written the file";

pub(crate) const EMULATOR_RUN: &str = "\
Examples:
  certbound emulator run -- certbound token \\
    --managed-identity system \\
    --scope https://vault.azure.net/.default
  certbound emulator run --platform app-service -- \\
    python app.py
  certbound emulator run --isolated -- node app.js";

pub(crate) const EMULATOR_WORLD: &str = "\
Examples:
  certbound emulator world > world.toml
  certbound emulator start --world world.toml";

pub(crate) const CONFIG_SHOW: &str = "\
Examples:
  certbound config show --config certbound.toml --origin
  certbound config show --profile orders \\
    -- exchange --region westus3";

pub(crate) const CONFIG_CHECK: &str = "\
Examples:
  certbound config check certbound.toml";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  cd ~/.local/share/bash-completion/completions
  certbound completions bash > certbound

  certbound completions zsh > \"${fpath[1]}/_certbound\"

  cd ~/.config/fish/completions
  certbound completions fish > certbound.fish";

pub(crate) const MAN: &str = "\
Examples:
  certbound man | man -l -
  certbound man ~/.local/share/man/man1";

pub(crate) const KEYS_LIST: &str = "\
Examples:
  certbound keys list \\
    'pkcs11:?module-path=/usr/lib/softhsm/libsofthsm2.so'";

pub(crate) const KEYS_GENERATE: &str = "\
Examples:
  MODULE=/usr/lib/softhsm/libsofthsm2.so
  certbound keys generate --type rsa3072 \\
    \"pkcs11:token=app;object=binding?module-path=$MODULE\"";

pub(crate) const KEYS_CSR: &str = "\
Examples:
  MODULE=/usr/lib/softhsm/libsofthsm2.so
  certbound keys csr --subject CN=app.contoso.com -o raw \\
    \"pkcs11:token=app;object=binding?module-path=$MODULE\" \\
    > app.csr";
