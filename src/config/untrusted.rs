//! Hosts whose certificates are not believed and used all the same, for a while: `--allow-untrusted`.

use time::{Date, Month, OffsetDateTime};

use super::{SettingsError, split_authority};

/// The longest an exception may be made for. What has to hold for longer has to be mended.
const LONGEST: i64 = 90;

/// One exception: `HOST=YYYY-MM-DD`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllowUntrusted {
    /// Lower case, without brackets.
    pub host: String,
    /// The last day, in UTC.
    pub until: Date,
}

impl AllowUntrusted {
    /// Reads one that holds on the day of `now`.
    pub fn parse(text: &str, now: OffsetDateTime) -> Result<Self, SettingsError> {
        let bad = |why: String| SettingsError::option("--allow-untrusted", format_args!("`{text}` {why}"));
        let form = || bad("is not HOST=YYYY-MM-DD, such as dev.example.com=2027-01-31".into());
        let (host, until) = text.split_once('=').ok_or_else(form)?;
        let host = host.trim();
        // An IPv6 address may come without its brackets, as nobody gives a port here.
        let host = match host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => address.to_string(),
            Err(_) => match split_authority(host) {
                Some((host, None)) => host,
                _ => return Err(form()),
            },
        };
        let until = date(until.trim()).ok_or_else(form)?;
        let left = (until - now.date()).whole_days();
        if left < 0 {
            return Err(bad("has expired: mend the upstream's certificate, or give a later day".into()));
        }
        if left > LONGEST {
            return Err(bad(format!("is more than {LONGEST} days ahead, the most that an exception may last")));
        }
        Ok(Self { host, until })
    }

    /// Whether it still holds at `now`, in seconds since 1970.
    pub fn holds(&self, now: u64) -> bool {
        let end = self.until.midnight().assume_utc().unix_timestamp() + 86_400;
        i64::try_from(now).is_ok_and(|now| now < end)
    }
}

fn date(text: &str) -> Option<Date> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_names_one_host_and_a_day_that_is_near() {
        let now = OffsetDateTime::from_unix_timestamp(1_795_737_600).unwrap(); // 2026-11-27
        for (text, host) in [
            ("dev.example.com=2026-11-27", "dev.example.com"),
            ("Dev.Example.COM.=2027-02-25", "dev.example.com"),
            ("192.0.2.7=2026-12-01", "192.0.2.7"),
            ("[2001:db8::7]=2026-12-01", "2001:db8::7"),
            ("2001:db8::7=2026-12-01", "2001:db8::7"),
        ] {
            assert_eq!(AllowUntrusted::parse(text, now).unwrap().host, host, "{text}");
        }
        for (text, why) in [
            ("dev.example.com", "is not HOST"),
            ("dev.example.com=", "is not HOST"),
            ("=2026-12-01", "is not HOST"),
            ("*.example.com=2026-12-01", "is not HOST"),
            ("dev.example.com:443=2026-12-01", "is not HOST"),
            ("dev.example.com=2026-02-30", "is not HOST"),
            ("dev.example.com=1.12.2026", "is not HOST"),
            ("dev.example.com=2026-11-26", "has expired"),
            ("dev.example.com=2027-02-26", "more than 90 days"),
        ] {
            let error = AllowUntrusted::parse(text, now).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_exception_holds_to_the_end_of_its_day() {
        let now = OffsetDateTime::from_unix_timestamp(1_795_737_600).unwrap();
        let exception = AllowUntrusted::parse("dev.example.com=2026-11-27", now).unwrap();
        assert!(exception.holds(1_795_737_600) && exception.holds(1_795_737_600 + 86_399));
        assert!(!exception.holds(1_795_737_600 + 86_400));
    }
}
