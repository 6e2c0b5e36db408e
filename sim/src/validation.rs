//! The validation table: what theory and other people's measurements say, and what we measure.
//!
//! Rows 1 to 26 are published results, each with its source where it is made; those after them are
//! rules of ours. A row is *production* if the code of real nodes made its numbers, which its
//! counts prove, and *theory* if an ideal scheduler or a calculator did: those are there to compare
//! with and validate nothing.

mod accounts;
mod choking;
mod clearing;
mod clustering;
mod economies;
mod fluid;
mod kelly;
mod lines;
mod long;
mod missing_piece;
mod reciprocation;
mod riding;
mod row;
mod scrip;
mod spreading;
#[cfg(test)]
mod tests;
mod tyrants;
pub mod variance;

pub use row::{RowLabel, RowVerdict, Tolerance, ValidationRow};

/// How much of a row is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    /// A second or two, for every change of the code.
    Short,
    /// As the table is printed.
    Full,
}

/// One number of the table: its rows, together.
#[derive(Clone, Copy, Debug)]
pub struct ValidationCase {
    /// Its number.
    pub number: &'static str,
    /// Whether it takes minutes, and is made only when asked for.
    pub is_long: bool,
    /// Makes its rows.
    pub run: fn(RowForm) -> Vec<ValidationRow>,
}

/// Every case, in order.
pub const CASES: &[ValidationCase] = &[
    case("1", accounts::identities),
    case("2", spreading::distribution_time),
    case("3", spreading::broadcast_rounds),
    case("4", scrip::stationary_law),
    case("5", scrip::crashes),
    case("6", missing_piece::growth),
    case("7", fluid::steady_state),
    case("8", fluid::any_load),
    case("9", reciprocation::model),
    case("10", lines::sampler),
    case("11", choking::free_riders),
    case("12", kelly::price_of_anarchy),
    case("13", clearing::truthfulness),
    long("14", long::flash_crowd),
    long("15", tyrants::universal),
    long("16", tyrants::single),
    long("17", tyrants::in_swarms),
    long("18", riding::large_view),
    long("19", clustering::own_class),
    long("20", clustering::seed_service),
    long("21", long::utilisation),
    long("22", riding::deficits),
    long("23", economies::crunch_and_crash),
    long("24", economies::new_and_old),
    long("25", long::oversupply),
    long("26", long::coupons),
    case("27", choking::open_share),
    case("28", accounts::rounding),
];

const fn case(number: &'static str, run: fn(RowForm) -> Vec<ValidationRow>) -> ValidationCase {
    ValidationCase {
        number,
        is_long: false,
        run,
    }
}

const fn long(number: &'static str, run: fn(RowForm) -> Vec<ValidationRow>) -> ValidationCase {
    ValidationCase {
        is_long: true,
        ..case(number, run)
    }
}
