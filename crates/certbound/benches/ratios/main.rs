//! What the client costs, as ratios to a floor measured in the same run: `cargo bench`.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

mod hit;
mod machine;
mod support;
mod two_legs;

fn main() {
    let mut criterion = support::criterion();
    hit::measure(&mut criterion);
    machine::measure(&mut criterion);
    two_legs::measure(&mut criterion);
    criterion.final_summary();
    println!();
    hit::print();
    machine::print();
    two_legs::print();
}
