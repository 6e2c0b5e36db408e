//! `seedbank-sim`: runs a scenario under virtual time and says what came of it.

fn main() {}
