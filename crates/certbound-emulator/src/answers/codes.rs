//! The OAuth `error` and the status of an AADSTS number.

use certbound_core::catalogue::aadsts;

/// Returns the `error` and the status of an AADSTS number. For an unknown number, returns `invalid_request` and 400.
pub(super) fn error_and_status(code: u32) -> (&'static str, u16) {
    aadsts(code).map_or(("invalid_request", 400), |known| (known.oauth_error, known.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows repeat the documented list of refusals.
    #[test]
    fn every_documented_number_has_its_error_and_status() {
        let rows: [(&[u32], &str, u16); 13] = [
            (&[392_189, 392_196, 392_199, 392_200, 500_181, 3_921_996, 1_000_604], "invalid_request", 400),
            (&[100_007, 5_000_224, 90_014, 50_027, 90_002, 900_023, 900_144], "invalid_request", 400),
            (&[900_561, 9_002_313, 90_010, 9_001_023], "invalid_request", 400),
            (&[70_021, 700_214, 700_222, 70_052], "invalid_request", 400),
            (&[392_204, 50_171, 1_000_502, 5_002_738, 5_002_723, 5_002_730, 50_012], "invalid_client", 401),
            (&[1_000_610, 1_000_611, 1_000_612, 1_000_613, 1_000_614], "invalid_client", 401),
            (&[700_021, 700_023, 700_024, 700_027, 700_030], "invalid_client", 401),
            (&[7_000_215, 7_000_216, 7_000_218, 7_000_222], "invalid_client", 401),
            (&[70_025, 700_211, 700_212, 7_002_121, 700_213, 7_002_131, 7_002_137], "invalid_client", 401),
            (&[7_002_138, 700_223, 700_238, 700_226, 700_229, 700_227, 700_231], "invalid_client", 401),
            (
                &[700_236, 7_002_203, 7_002_381, 7_002_206, 7_000_214, 7_000_274, 7_000_277],
                "invalid_client",
                401,
            ),
            (&[900_382, 650_053], "invalid_client", 400),
            (&[65_001, 50_196], "invalid_grant", 400),
        ];
        for (codes, error, status) in rows {
            for code in codes {
                assert_eq!(error_and_status(*code), (error, status), "{code}");
            }
        }
        for (code, error, status) in [
            (51_000, "invalid_request", 412),
            (700_016, "unauthorized_client", 400),
            (7_000_112, "unauthorized_client", 400),
            (70_011, "invalid_scope", 400),
            (1_002_012, "invalid_scope", 400),
            (500_011, "invalid_resource", 400),
            (50_049, "invalid_instance", 400),
            (53_003, "interaction_required", 400),
            (90_033, "temporarily_unavailable", 503),
        ] {
            assert_eq!(error_and_status(code), (error, status), "{code}");
        }
    }
}
