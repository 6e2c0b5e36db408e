//! Values as people write them: sizes, rates, shares and credit with their units.

use seedbank_ledger::MicroCredits;

/// Bytes per second: `4MiB/s`, `500KB/s`, `1000000`; `unlimited` is `None`.
pub fn byte_rate(text: &str) -> Result<Option<u64>, &'static str> {
    const PROBLEM: &str = "is no rate: write a number with B, KiB, MiB or GiB and /s, or unlimited";
    if text == "unlimited" {
        return Ok(None);
    }
    let text = text.strip_suffix("/s").unwrap_or(text);
    match bytes(text) {
        Some(0) | None => Err(PROBLEM),
        some => Ok(some),
    }
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
            "1.MiB",
            "MiB",
        ] {
            assert!(byte_rate(bad).is_err(), "{bad}");
        }
        assert_eq!(bytes("17179869184GiB"), None, "past 64 bits");
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
