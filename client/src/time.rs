//! Times for people: "3 min ago", "2026-11-21 02:24 +01:00". Machines get RFC 3339 in UTC from
//! `json.rs`.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use prost_types::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Seconds since 1970 by the system clock.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|age| i64::try_from(age.as_secs()).ok())
        .unwrap_or_default()
}

/// "3 min ago" or "in 2 h"; "never" for no time.
pub(crate) fn relative(time: Option<Timestamp>, now: i64) -> String {
    let Some(time) = time else {
        return "never".to_owned();
    };
    let distance = now.saturating_sub(time.seconds);
    match distance {
        ..0 => format!("in {}", duration(distance.saturating_neg())),
        0 => "now".to_owned(),
        1.. => format!("{} ago", duration(distance)),
    }
}

/// "45 s", "12 min", "3 h", "9 d": the largest unit that fits, rounded down.
pub(crate) fn duration(secs: i64) -> String {
    match secs {
        ..MINUTE => format!("{secs} s"),
        MINUTE..HOUR => format!("{} min", secs / MINUTE),
        HOUR..DAY => format!("{} h", secs / HOUR),
        DAY.. => format!("{} d", secs / DAY),
    }
}

/// "2026-11-21 02:24 +01:00" by this machine's clock; "-" for no time.
pub(crate) fn minute(time: Option<Timestamp>) -> String {
    minute_in(time, &TimeZone::system())
}

fn minute_in(time: Option<Timestamp>, zone: &TimeZone) -> String {
    let Some(time) = time else {
        return "-".to_owned();
    };
    match jiff::Timestamp::from_second(time.seconds) {
        Ok(at) => {
            let at = at.to_zoned(zone.clone());
            at.strftime("%Y-%m-%d %H:%M %:z").to_string()
        }
        // Beyond the year 9999: nobody's local time.
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn distances_use_the_largest_unit_that_fits() {
        assert_eq!(relative(at(1_000), 1_000), "now");
        assert_eq!(relative(at(1_000), 1_059), "59 s ago");
        assert_eq!(relative(at(1_000), 1_000 + 7_300), "2 h ago");
        assert_eq!(relative(at(1_000), 400), "in 10 min");
        assert_eq!(relative(None, 400), "never");
    }

    #[test]
    fn minutes_are_local_and_say_how_far_from_utc() {
        let minute = |hours, seconds| {
            let zone = TimeZone::fixed(jiff::tz::offset(hours));
            minute_in(at(seconds), &zone)
        };
        assert_eq!(minute(0, 1_700_000_000), "2023-11-14 22:13 +00:00");
        assert_eq!(minute(2, 1_700_000_000), "2023-11-15 00:13 +02:00");
        assert_eq!(minute(-5, 1_700_000_000), "2023-11-14 17:13 -05:00");
        assert_eq!(minute_in(None, &TimeZone::UTC), "-");
    }
}
