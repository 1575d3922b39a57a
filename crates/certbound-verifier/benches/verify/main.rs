//! What a decision costs, as ratios to floors measured in the same run: `cargo bench -p certbound-verifier`.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

mod decision;
mod layer;

#[path = "../../../certbound/benches/ratios/support/ratio.rs"]
mod ratio;
#[path = "../../tests/numbered/support.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod support;

fn main() {
    let mut criterion = ratio::criterion();
    decision::measure(&mut criterion);
    layer::measure(&mut criterion);
    criterion.final_summary();
    println!();
    decision::print();
    layer::print();
}
