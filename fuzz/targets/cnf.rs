//! Parses arbitrary claims. A confirmation has 43 characters, and matches a certificate only in the canonical spelling.
#![no_main]

use certbound_core::certificate::Thumbprint;
use certbound_core::jwt::Claims;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let thumbprint = Thumbprint::of_der(data);
    for payload in [
        data.to_vec(),
        [b"{\"cnf\":", data, b"}"].concat(),
        [b"{\"cnf\":{\"x5t#S256\":\"", data, b"\"}}"].concat(),
    ] {
        let Ok(claims) = Claims::parse(payload) else { continue };
        let (_, _, _) = (claims.audiences(), claims.time("exp"), claims.map());
        if let Ok(Some(claim)) = claims.confirmation() {
            assert_eq!(claim.len(), 43);
            assert_eq!(thumbprint.matches_claim(claim), thumbprint.x5t_s256() == claim);
        }
    }
});
