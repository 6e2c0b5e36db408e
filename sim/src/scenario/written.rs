//! Quantities as a scenario's author writes them: text with units, exact or refused.

use std::fmt;

use seedbank_engine::rng::Rng;
use seedbank_engine::text::amounts;
use seedbank_ledger::{Duration, MicroCredits, Rate};
use serde::{Deserialize, Serialize};

use crate::streams::exponential;

/// Bytes: `128MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

/// Bytes per second: `1MB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteRate(pub u64);

/// A time: `30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Duration);

/// A time that is drawn: `30s`, or `30s..90s`, of which each is equally likely, or `exp(30s)`:
/// exponentially distributed, with this mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TimeSpan {
    /// Equally likely.
    Within {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// As when something happens that is equally likely at every moment.
    Exponential {
        /// The mean.
        mean: Duration,
    },
}

impl TimeSpan {
    /// One that is drawn.
    pub fn draw(self, rng: &mut Rng) -> Duration {
        match self {
            Self::Within { least, most } => {
                let width = most.as_nanos() - least.as_nanos();
                let part = rng.below(width.saturating_add(1));
                Duration::from_nanos(least.as_nanos() + part)
            }
            Self::Exponential { mean } => {
                #[expect(clippy::cast_precision_loss, reason = "a time that is drawn anyway")]
                let drawn = exponential(rng, mean.as_nanos() as f64);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates, and is never below zero"
                )]
                let nanos = drawn as u64;
                Duration::from_nanos(nanos)
            }
        }
    }
}

/// An amount of credit: `0.25cr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CreditAmount(pub MicroCredits);

/// A price: `2cr/GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Price(pub Rate);

/// A share of a whole: `30%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(pub u8);

impl Percent {
    /// This share of a number, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        let part = u128::from(whole) * u128::from(self.0) / 100;
        u64::try_from(part).expect("at most the whole")
    }
}

/// How a quantity is read and written.
trait Quantity: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn write(&self) -> String;
}

impl Quantity for Size {
    fn read(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is no size: write 128MiB, 512KiB or 1GB");
        amounts::bytes(text).map(Self).ok_or_else(problem)
    }

    fn write(&self) -> String {
        amounts::bytes_text(self.0)
    }
}

impl Quantity for ByteRate {
    fn read(text: &str) -> Result<Self, String> {
        match amounts::byte_rate(text) {
            Ok(Some(rate)) => Ok(Self(rate)),
            Ok(None) => Err("what is not limited is left out".to_owned()),
            Err(problem) => Err(format!("{text:?} {problem}")),
        }
    }

    fn write(&self) -> String {
        amounts::byte_rate_text(Some(self.0))
    }
}

impl Quantity for Time {
    fn read(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is no time: write 30s, 250ms, 10min or 24h");
        amounts::duration(text).map(Self).ok_or_else(problem)
    }

    fn write(&self) -> String {
        amounts::duration_text(self.0)
    }
}

impl Quantity for TimeSpan {
    fn read(text: &str) -> Result<Self, String> {
        let within = text.strip_prefix("exp(");
        if let Some(mean) = within.and_then(|rest| rest.strip_suffix(')')) {
            let mean = Time::read(mean.trim())?.0;
            return Ok(Self::Exponential { mean });
        }
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let [least, most] = [Time::read(least.trim())?.0, Time::read(most.trim())?.0];
        match least <= most {
            true => Ok(Self::Within { least, most }),
            false => Err(format!("{text:?} ends before it begins")),
        }
    }

    fn write(&self) -> String {
        match *self {
            Self::Exponential { mean } => format!("exp({})", amounts::duration_text(mean)),
            Self::Within { least, most } if least == most => amounts::duration_text(least),
            Self::Within { least, most } => {
                let [least, most] = [least, most].map(amounts::duration_text);
                format!("{least}..{most}")
            }
        }
    }
}

impl Quantity for CreditAmount {
    fn read(text: &str) -> Result<Self, String> {
        let problem = |problem| format!("{text:?} {problem}");
        amounts::credits(text).map(Self).map_err(problem)
    }

    fn write(&self) -> String {
        amounts::credits_text(self.0)
    }
}

impl Quantity for Price {
    fn read(text: &str) -> Result<Self, String> {
        let amount = text.strip_suffix("/GiB").unwrap_or(text).trim_end();
        let price = amounts::credits(amount).map(|amount| Self(Rate::new(amount.get())));
        price.map_err(|_| format!("{text:?} is no price: write 2cr/GiB"))
    }

    fn write(&self) -> String {
        format!(
            "{}/GiB",
            amounts::credits_text(MicroCredits::new(self.0.get()))
        )
    }
}

impl Quantity for Percent {
    fn read(text: &str) -> Result<Self, String> {
        let problem = |problem| format!("{text:?} {problem}");
        amounts::percent(text).map(Self).map_err(problem)
    }

    fn write(&self) -> String {
        format!("{}%", self.0)
    }
}

macro_rules! is_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                Self::read(&text)
            }
        }

        impl From<$name> for String {
            fn from(quantity: $name) -> Self {
                quantity.write()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.write())
            }
        }
    )*};
}

is_text!(Size, ByteRate, Time, TimeSpan, CreditAmount, Price, Percent);

#[cfg(test)]
mod tests {
    use super::*;

    fn same<T: Quantity + PartialEq + fmt::Debug>(text: &str) {
        let read = T::read(text).unwrap();
        assert_eq!(read.write(), text);
        assert_eq!(T::read(&read.write()), Ok(read));
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        same::<Size>("128MiB");
        same::<ByteRate>("1000000B/s");
        same::<Time>("90min");
        same::<TimeSpan>("30s..90s");
        same::<TimeSpan>("30s");
        same::<TimeSpan>("exp(30s)");
        same::<CreditAmount>("0.25cr");
        same::<Price>("2cr/GiB");
        same::<Percent>("30%");
        assert_eq!(ByteRate::read("1 MB/s"), Ok(ByteRate(1_000_000)));
        assert_eq!(Time::read("1.5h"), Ok(Time(Duration::from_secs(5_400))));
    }

    #[test]
    fn what_is_no_quantity_says_how_to_write_one() {
        let problem = |text| Time::read(text).unwrap_err();
        assert_eq!(
            problem("5"),
            "\"5\" is no time: write 30s, 250ms, 10min or 24h"
        );
        assert_eq!(
            TimeSpan::read("9s..3s").unwrap_err(),
            "\"9s..3s\" ends before it begins"
        );
        assert!(Size::read("many").is_err());
        assert!(ByteRate::read("5").is_err());
        assert!(Price::read("cheap").is_err());
        assert!(Percent::read("101%").is_err());
    }
}
