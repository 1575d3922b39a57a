//! The cost of a decision, as ratios to floors measured in the same run: `cargo bench -p certbound-verifier`.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

mod decision;
mod layer;

#[path = "../../../certbound/benches/ratios/support/ratio.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod ratio;
#[path = "../../../certbound/benches/ratios/support/report.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod report;
#[path = "../../tests/numbered/support.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod support;

fn main() {
    ratio::forget_earlier_results();
    let mut criterion = ratio::criterion(ratio::Cpu::THREAD);
    decision::measure(&mut criterion);
    layer::measure(&mut criterion);
    criterion.final_summary();
    println!();
    decision::print();
    layer::print();
}
