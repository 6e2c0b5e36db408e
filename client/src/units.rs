//! Amounts as people read and write them: `2.5cr`, `3cr/GiB`, `41.2 GiB`, `3.1 MiB/s`, `30m`.
//!
//! Integers only: an amount that has no exact value in micro-credits is refused, not rounded.

use std::time::Duration;

use seedbank_ledger::{MicroCredits, NodeId};

/// Micro-credits in one credit.
const PER_CREDIT: i64 = MicroCredits::PER_CREDIT.cast_signed();
/// Digits of a micro-credit after the point.
const CREDIT_DIGITS: usize = 6;

const BYTE_UNITS: [(&str, i64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

const DURATION_UNITS: [(&str, u64); 5] = [
    ("s", 1),
    ("m", 60),
    ("min", 60),
    ("h", 3_600),
    ("d", 86_400),
];

/// Parses `5`, `5cr` or `2.5 cr` to micro-credits; above zero, at most six decimals.
pub(crate) fn parse_credit(text: &str) -> Result<i64, String> {
    let digits = text.trim();
    let digits = digits.strip_suffix("cr").unwrap_or(digits).trim_end();
    let problem = || format!("{text:?} is no amount: write 5, 5cr or 2.5cr");
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
        return Err(problem());
    }
    if fraction.len() > CREDIT_DIGITS {
        return Err(format!(
            "{text:?} is finer than a micro-credit (0.000001cr)"
        ));
    }
    let whole: i64 = whole.parse().map_err(|_| problem())?;
    let fraction: i64 = format!("{fraction:0<CREDIT_DIGITS$}")
        .parse()
        .map_err(|_| problem())?;
    let amount = whole
        .checked_mul(PER_CREDIT)
        .and_then(|whole| whole.checked_add(fraction))
        .ok_or_else(problem)?;
    match amount {
        0 => Err("an amount must be above 0".to_owned()),
        amount => Ok(amount),
    }
}

/// Parses a key of 64 hex digits, which somebody can hold, to its one spelling.
pub(crate) fn parse_key(text: &str) -> Result<String, String> {
    let key = NodeId::from_hex(text);
    let key = key.ok_or_else(|| format!("{text:?} is no key: it has 64 hex digits"))?;
    match key.check() {
        Ok(()) => Ok(key.to_string()),
        Err(_) => Err(format!("{key} is a key that nobody can hold")),
    }
}

/// Parses `3`, `3cr` or `3cr/GiB` to micro-credits per GiB.
pub(crate) fn parse_rate(text: &str) -> Result<i64, String> {
    let amount = text.trim().strip_suffix("/GiB").unwrap_or(text);
    parse_credit(amount).map_err(|_| format!("{text:?} is no rate: write 3cr/GiB or 3cr"))
}

/// Parses `4MiB`, `4MiB/s`, `512KiB/s` or plain bytes to bytes (per second).
pub(crate) fn parse_bytes(text: &str) -> Result<i64, String> {
    let problem = || format!("{text:?} is no size: write 4MiB, 512KiB or a number of bytes");
    let size = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let (digits, unit) = BYTE_UNITS
        .iter()
        .find_map(|(name, unit)| Some((size.strip_suffix(name)?.trim_end(), *unit)))
        .unwrap_or((size.strip_suffix('B').unwrap_or(size).trim_end(), 1));
    let count: i64 = digits.parse().map_err(|_| problem())?;
    count
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(problem)
}

/// Parses `4MiB/s`, `500KB/s` or `1000B/s` to bytes per second. A number without a unit is refused:
/// whoever writes 5 hardly means five bytes.
pub(crate) fn parse_byte_rate(text: &str) -> Result<i64, String> {
    const DECIMAL_UNITS: [(&str, i64); 4] = [
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1_000),
        ("kB", 1_000),
    ];
    let size = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    if size.bytes().all(|digit| digit.is_ascii_digit()) && !size.is_empty() {
        return Err(format!(
            "{size} what? write {size}KiB/s, {size}MB/s or {size}B/s"
        ));
    }
    let decimal = DECIMAL_UNITS.iter().find_map(|(name, unit)| {
        let digits = size.strip_suffix(name)?.trim_end();
        digits.parse::<i64>().ok()?.checked_mul(*unit)
    });
    let rate = match decimal {
        Some(rate) => Some(rate).filter(|rate| *rate > 0),
        None => parse_bytes(size).ok(),
    };
    rate.ok_or_else(|| format!("{text:?} is no rate: write 4MiB/s, 512KiB/s or 5MB/s"))
}

/// A hundred years: what is longer is a slip, and no clock is asked to add it.
const DURATION_SECS_MAX: u64 = 100 * 365 * 86_400;

/// Parses `30s`, `5m`, `2h`, `7d` or plain seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is no duration: write 30s, 5m, 2h or 7d, at most 36500d");
    let text = text.trim();
    let split = text
        .find(|digit: char| !digit.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = match unit.trim_start() {
        "" => 1,
        name => DURATION_UNITS
            .iter()
            .find_map(|(unit, secs)| (*unit == name).then_some(*secs))
            .ok_or_else(problem)?,
    };
    let count: u64 = digits.parse().map_err(|_| problem())?;
    count
        .checked_mul(unit)
        .filter(|secs| (1..=DURATION_SECS_MAX).contains(secs))
        .map(Duration::from_secs)
        .ok_or_else(problem)
}

/// `12.345678 cr`, with a minus if below zero.
pub(crate) fn credit(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let (whole, fraction) = split_credit(amount);
    format!("{sign}{whole}.{fraction:06} cr")
}

/// `+ 12.345678`, `- 12.345678` or `0.000000`, for columns of changes.
pub(crate) fn credit_change(amount: i64) -> String {
    let (whole, fraction) = split_credit(amount);
    match amount {
        ..0 => format!("- {whole}.{fraction:06}"),
        0 => format!("{whole}.{fraction:06}"),
        1.. => format!("+ {whole}.{fraction:06}"),
    }
}

/// `1.000000 cr/GiB`.
pub(crate) fn rate(amount: i64) -> String {
    format!("{}/GiB", credit(amount))
}

/// `41.2 GiB`, rounded to the nearest tenth; below 1 KiB `512 B`.
pub(crate) fn bytes(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    let size = count.unsigned_abs();
    let unit = BYTE_UNITS
        .iter()
        .find(|(_, unit)| size >= unit.unsigned_abs());
    match unit {
        None => format!("{sign}{size} B"),
        Some((name, unit)) => {
            let unit = u128::from(unit.unsigned_abs());
            let tenths = (u128::from(size) * 10 + unit / 2) / unit;
            format!("{sign}{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

/// `3.1 MiB/s`; `-` for none.
pub(crate) fn bytes_per_second(count: i64) -> String {
    match count {
        0 => "-".to_owned(),
        count => format!("{}/s", bytes(count)),
    }
}

/// `37.5 %`, rounded down so that 100 % means all; `-` of nothing.
pub(crate) fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "-".to_owned();
    }
    let permille = i128::from(part.max(0)) * 1_000 / i128::from(whole);
    format!("{}.{} %", permille / 10, permille % 10)
}

/// `0.45`, rounded down; `-` of nothing.
pub(crate) fn ratio(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "-".to_owned();
    }
    let cents = i128::from(part.max(0)) * 100 / i128::from(whole);
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Parses the length of a piece: a power of two from 16 KiB to 16 MiB.
pub(crate) fn parse_piece(text: &str) -> Result<i32, String> {
    const SHORTEST: i64 = 16 << 10;
    const LONGEST: i64 = 16 << 20;
    let len = parse_bytes(text)?;
    let is_piece = |len: i64| (SHORTEST..=LONGEST).contains(&len) && len & (len - 1) == 0;
    if is_piece(len) {
        return i32::try_from(len).map_err(|error| error.to_string());
    }
    // A bare number is rarely meant in bytes.
    let bare = text.bytes().all(|digit| digit.is_ascii_digit());
    let meant = len.checked_shl(20).filter(|meant| bare && is_piece(*meant));
    let meant = match meant {
        Some(_) => format!("; {len}MiB would be one"),
        None => ", such as 256KiB or 4MiB".to_owned(),
    };
    Err(format!(
        "{text} is no length of a piece: it is a power of two from 16KiB to 16MiB{meant}"
    ))
}

fn split_credit(amount: i64) -> (u64, u64) {
    let size = amount.unsigned_abs();
    let unit = PER_CREDIT.unsigned_abs();
    (size / unit, size % unit)
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::Identity;

    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        assert_eq!(parse_credit("5"), Ok(5_000_000));
        assert_eq!(parse_credit("5cr"), Ok(5_000_000));
        assert_eq!(parse_credit("2.5 cr"), Ok(2_500_000));
        assert_eq!(parse_credit("0.000001"), Ok(1));
        for bad in [
            "",
            "cr",
            "0",
            "0.0",
            "-1",
            "+1",
            "1.",
            ".5",
            "1e3",
            "1,5",
            "5 btc",
            "0.0000001",
            "9223372036855",
            "1.2.3",
        ] {
            assert!(parse_credit(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_have_one_spelling() {
        let key = Identity::from_secret([1; 32]).id().to_string();
        assert_eq!(parse_key(&key.to_uppercase()), Ok(key));
        assert!(parse_key("ab").is_err());
    }

    #[test]
    fn a_key_that_nobody_can_hold_is_refused() {
        let nobody = "00".repeat(32);
        let said = parse_key(&nobody).unwrap_err();
        assert_eq!(said, format!("{nobody} is a key that nobody can hold"));
    }

    #[test]
    fn rates_are_per_gib() {
        assert_eq!(parse_rate("3cr/GiB"), Ok(3_000_000));
        assert_eq!(parse_rate("3cr"), Ok(3_000_000));
        assert_eq!(parse_rate("0.5"), Ok(500_000));
        assert!(parse_rate("3cr/MiB").is_err());
    }

    #[test]
    fn sizes_and_durations_need_a_known_unit() {
        assert_eq!(parse_bytes("4MiB/s"), Ok(4 << 20));
        assert_eq!(parse_bytes("512 KiB"), Ok(512 << 10));
        assert_eq!(parse_bytes("1000"), Ok(1_000));
        assert!(parse_bytes("4MB").is_err());
        assert!(parse_bytes("0").is_err());
        assert!(parse_bytes("-4KiB").is_err());
        assert_eq!(parse_byte_rate("4MiB/s"), Ok(4 << 20));
        assert_eq!(parse_byte_rate("5 MB/s"), Ok(5_000_000));
        assert_eq!(parse_byte_rate("5B/s"), Ok(5));
        assert_eq!(
            parse_byte_rate("5").unwrap_err(),
            "5 what? write 5KiB/s, 5MB/s or 5B/s"
        );
        for bad in ["", "0B", "0MB", "5Mbit/s", "-1KiB", "5/h", "MB"] {
            assert!(parse_byte_rate(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert!(parse_duration("7w").is_err());
        assert!(parse_duration("0s").is_err());
        assert!(parse_duration("36501d").is_err());
        assert!(parse_duration("18446744073709551615s").is_err());
        assert!(parse_duration("d").is_err());
    }

    #[test]
    fn pieces_are_powers_of_two_and_a_bare_number_is_asked_about() {
        assert_eq!(parse_piece("16KiB"), Ok(16 << 10));
        assert_eq!(parse_piece("16MiB"), Ok(16 << 20));
        let said = parse_piece("4").unwrap_err();
        assert!(
            said.ends_with("16KiB to 16MiB; 4MiB would be one"),
            "{said}"
        );
        for bad in ["5", "5MiB", "8KiB", "32MiB", "9223372036854775807"] {
            let said = parse_piece(bad).unwrap_err();
            assert!(
                said.contains("a power of two from 16KiB to 16MiB"),
                "{said}"
            );
        }
    }

    #[test]
    fn numbers_print_with_their_unit() {
        assert_eq!(credit(12_345_678), "12.345678 cr");
        assert_eq!(credit(-1), "-0.000001 cr");
        assert_eq!(credit_change(41_180_000), "+ 41.180000");
        assert_eq!(rate(1_000_000), "1.000000 cr/GiB");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(44_238_313_062), "41.2 GiB");
        assert_eq!(bytes(-1_536), "-1.5 KiB");
        assert_eq!(bytes_per_second(3_250_585), "3.1 MiB/s");
        assert_eq!(percent(999_999, 1_000_000), "99.9 %");
        assert_eq!(percent(5, 0), "-");
        assert_eq!(ratio(999, 1_000), "0.99");
        assert_eq!(ratio(1_234, 100), "12.34");
        assert_eq!(ratio(5, 0), "-");
        assert_eq!(credit(i64::MIN), "-9223372036854.775808 cr");
    }
}
