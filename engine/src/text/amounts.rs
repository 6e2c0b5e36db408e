//! Values as people write them: sizes, rates, shares and credit with their units.

use seedbank_ledger::{Duration, MicroCredits};

/// Bytes per second: `4MiB/s`, `500KB/s`, `1000B`; `unlimited` is `None`. A number without a unit
/// is refused: whoever writes 5 hardly means five bytes.
pub fn byte_rate(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let size = text.strip_suffix("/s").unwrap_or(text).trim_end();
    match bytes(size) {
        Some(_) if decimal(size, 6).is_some() => Err(format!(
            "needs a unit: write {size}KiB/s, {size}MB/s or {size}B/s"
        )),
        Some(0) | None => Err(
            "is no rate: write a number with B, KiB, MiB or GiB and /s, or unlimited".to_owned(),
        ),
        some => Ok(some),
    }
}

/// The same, as [`byte_rate`] reads it: in the largest unit that says it exactly.
pub fn byte_rate_text(rate: Option<u64>) -> String {
    rate.map_or_else(
        || "unlimited".to_owned(),
        |rate| format!("{}/s", bytes_text(rate)),
    )
}

/// Bytes: `32MiB`, `1GB`, `512`.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    let (whole, part) = decimal(number, 6)?;
    let part = u128::from(part) * u128::from(factor) / 1_000_000;
    whole
        .checked_mul(factor)?
        .checked_add(u64::try_from(part).ok()?)
}

/// Time: `250ms`, `30s`, `1.5h`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits?);
    let nanos: u64 = match unit.trim() {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    let (whole, part) = decimal(number, 6)?;
    let part = u128::from(part) * u128::from(nanos) / 1_000_000;
    let nanos = whole.checked_mul(nanos)?;
    Some(Duration::from_nanos(
        nanos.checked_add(u64::try_from(part).ok()?)?,
    ))
}

/// The same, as [`duration`] reads it: in the largest unit that says it exactly, or as exactly as
/// microseconds do.
pub fn duration_text(time: Duration) -> String {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ];
    let nanos = time.as_nanos();
    let exact = UNITS
        .iter()
        .find(|(_, unit)| nanos > 0 && nanos.is_multiple_of(*unit));
    match exact {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None if nanos == 0 => "0s".to_owned(),
        None => format!("{}us", nanos / 1_000),
    }
}

/// Bytes, as [`bytes`] reads them: in the largest unit that says them exactly.
pub fn bytes_text(count: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    let exact = UNITS
        .iter()
        .find(|(_, unit)| count > 0 && count.is_multiple_of(*unit));
    let (name, unit) = exact.copied().unwrap_or(("B", 1));
    format!("{}{name}", count / unit)
}

/// Credit: `5`, `5cr`, `0.25cr`; at most six decimals.
pub fn credits(text: &str) -> Result<MicroCredits, &'static str> {
    const PROBLEM: &str = "is no amount of credit: write it as 5cr or 0.25cr, at most 6 decimals";
    let number = text.strip_suffix("cr").unwrap_or(text).trim_end();
    let raw = decimal(number, 6).and_then(|(whole, part)| {
        whole
            .checked_mul(MicroCredits::PER_CREDIT)?
            .checked_add(part)
    });
    raw.map(MicroCredits::new).ok_or(PROBLEM)
}

/// The same, as [`credits`] reads it, to the micro-credit.
pub fn credits_text(amount: MicroCredits) -> String {
    let (whole, part) = (
        amount.get() / MicroCredits::PER_CREDIT,
        amount.get() % MicroCredits::PER_CREDIT,
    );
    let text = format!("{whole}.{part:06}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}cr")
}

/// A share of 100: `30%`.
pub fn percent(text: &str) -> Result<u8, &'static str> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent = number.parse().ok().filter(|percent| *percent <= 100);
    percent.ok_or("is no share: write it as 30%, from 0% to 100%")
}

/// Digits with at most `places` behind a point: the whole part, and the rest in units of
/// 10^-`places`.
fn decimal(text: &str, places: usize) -> Option<(u64, u64)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let pointless = text.contains('.') && part.is_empty();
    if whole.is_empty() || pointless || part.len() > places || !all_digits(part) {
        return None;
    }
    if !all_digits(whole) {
        return None;
    }
    Some((
        whole.parse().ok()?,
        format!("{part:0<places$}").parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units_and_unlimited_is_none() {
        assert_eq!(byte_rate("unlimited"), Ok(None));
        assert_eq!(byte_rate("4MiB/s"), Ok(Some(4 << 20)));
        assert_eq!(byte_rate("0.25MiB/s"), Ok(Some(256 * 1024)));
        assert_eq!(byte_rate("500kB"), Ok(Some(500_000)));
        for bad in [
            "",
            "0",
            "4 apples",
            "-1",
            "1e9",
            "99999999999999999999",
            "5",
            "5/s",
            "0.5",
            "1.MiB",
            "MiB",
        ] {
            assert!(byte_rate(bad).is_err(), "{bad}");
        }
        assert_eq!(bytes("17179869184GiB"), None, "past 64 bits");
    }

    #[test]
    fn a_rate_without_a_unit_is_asked_for_one() {
        let problem = byte_rate("5").unwrap_err();
        assert_eq!(problem, "needs a unit: write 5KiB/s, 5MB/s or 5B/s");
        assert_eq!(byte_rate("5B/s"), Ok(Some(5)));
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for rate in [
            None,
            Some(1),
            Some(1_000_000),
            Some(4 << 20),
            Some(u64::MAX),
        ] {
            assert_eq!(byte_rate(&byte_rate_text(rate)), Ok(rate));
        }
        assert_eq!(byte_rate_text(Some(4 << 20)), "4MiB/s");
        for amount in [1, 250_000, 5_000_000, u64::MAX] {
            let amount = MicroCredits::new(amount);
            assert_eq!(credits(&credits_text(amount)), Ok(amount));
        }
        assert_eq!(credits_text(MicroCredits::new(250_000)), "0.25cr");
    }

    #[test]
    fn credit_is_exact_to_the_micro_credit() {
        assert_eq!(credits("2.5cr"), Ok(MicroCredits::new(2_500_000)));
        assert_eq!(credits("0.000001"), Ok(MicroCredits::new(1)));
        assert_eq!(credits("5 cr"), Ok(MicroCredits::new(5_000_000)));
        for bad in ["", "cr", "0.0000001", "1,5", "-1", "18446744073709.6"] {
            assert!(credits(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_stay_within_100() {
        assert_eq!(percent("30%"), Ok(30));
        assert_eq!(percent("100"), Ok(100));
        assert!(percent("101%").is_err());
        assert!(percent("0.3").is_err());
    }
}
