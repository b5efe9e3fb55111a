//! How somebody wants to be told by mail of what waits: one mail each, a digest now and then, or none; and the hours in
//! which none may come.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::fault::Fault;
use super::time::Timestamp;

/// Minutes between two digests: at least, at most, and unless somebody says otherwise.
pub const DIGEST_MIN: u16 = 15;
/// See [`DIGEST_MIN`].
pub const DIGEST_MAX: u16 = 24 * 60;
/// See [`DIGEST_MIN`].
pub const DIGEST_DEFAULT: u16 = 60;

/// What mails somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MailMode {
    /// One about each comment, up to the hourly ceiling.
    Each,
    /// One about all that came, so many minutes after the first of them.
    Digest(u16),
    /// None.
    None,
}

impl MailMode {
    /// A digest. A fault unless it is one to 24 times a day or up to four times an hour.
    pub fn digest(minutes: i64) -> Result<Self, Fault> {
        let known = u16::try_from(minutes).ok().filter(|minutes| (DIGEST_MIN..=DIGEST_MAX).contains(minutes));
        known.map(Self::Digest).ok_or_else(|| {
            Fault::new("digest_minutes", "out_of_range", "It must be a whole number of minutes from 15 to 1440.")
        })
    }
}

/// Hours in which no mail comes, by somebody's own clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuietHours {
    /// When they begin: minutes of the day.
    from: u16,
    /// When they end, maybe on the next day: minutes of the day.
    to: u16,
    /// A name of the IANA time-zone database.
    #[serde(serialize_with = "name")]
    zone: TimeZone,
}

fn name<S: serde::Serializer>(zone: &TimeZone, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.iana_name().unwrap_or("UTC"))
}

/// How somebody wants mail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MailChoice {
    /// Which.
    pub mode: MailMode,
    /// Not then; afterwards one digest.
    pub quiet: Option<QuietHours>,
}

impl MailChoice {
    /// Whether they want any.
    pub fn wants_mail(&self) -> bool {
        self.mode != MailMode::None
    }

    /// When the quiet hours end in which a moment lies; none when it lies in none.
    pub fn quiet_until(&self, at: Timestamp) -> Option<Timestamp> {
        self.quiet.as_ref().and_then(|quiet| quiet.until(at))
    }

    /// The first moment from this one on at which a mail may come.
    pub fn next_after(&self, at: Timestamp) -> Timestamp {
        self.quiet_until(at).unwrap_or(at)
    }

    /// How long a digest gathers what comes; nothing where mails come one by one.
    pub fn gathers(&self) -> Option<Duration> {
        match self.mode {
            MailMode::Digest(minutes) => Some(Duration::from_mins(minutes.into())),
            MailMode::Each | MailMode::None => None,
        }
    }
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;

impl QuietHours {
    /// From one minute of the day to another in a time zone. A fault for minutes that no day has, for an empty time, and for
    /// a zone that is not known.
    pub fn new(from: i64, to: i64, zone: &str) -> Result<Self, Fault> {
        let minute = |value: i64, field: &'static str| {
            let known = u16::try_from(value).ok().filter(|minute| *minute < DAY);
            known.ok_or_else(|| Fault::new(field, "out_of_range", "It must be a minute of the day, from 0 to 1439."))
        };
        let (from, to) = (minute(from, "quiet_from")?, minute(to, "quiet_to")?);
        if from == to {
            return Err(Fault::new("quiet_to", "out_of_range", "It must differ from quiet_from."));
        }
        let unknown = || Fault::new("time_zone", "unknown_value", "It must be an IANA name, like Europe/Berlin.");
        let zone = TimeZone::get(zone).ok().filter(|zone| zone.iana_name().is_some()).ok_or_else(unknown)?;
        Ok(Self { from, to, zone })
    }

    /// When they begin, when they end (minutes of the day), and by which clock.
    pub fn parts(&self) -> (u16, u16, &str) {
        (self.from, self.to, self.zone.iana_name().unwrap_or("UTC"))
    }

    fn until(&self, at: Timestamp) -> Option<Timestamp> {
        let here = jiff::Timestamp::from_microsecond(at.0).ok()?.to_zoned(self.zone.clone());
        let minute = u16::try_from(i64::from(here.hour()) * 60 + i64::from(here.minute())).ok()?;
        let over_midnight = self.from > self.to;
        let is_quiet = if over_midnight {
            minute >= self.from || minute < self.to
        } else {
            (self.from..self.to).contains(&minute)
        };
        if !is_quiet {
            return None;
        }
        let today = here.date();
        let day = if over_midnight && minute >= self.from { today.tomorrow().ok()? } else { today };
        let end = day.at(i8::try_from(self.to / 60).ok()?, i8::try_from(self.to % 60).ok()?, 0, 0);
        // When the clock is set back this minute comes twice; the first may be over already.
        let end = self.zone.to_ambiguous_zoned(end).later().ok()?;
        Some(Timestamp(end.timestamp().as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn quiet(from: i64, to: i64, zone: &str) -> MailChoice {
        MailChoice { mode: MailMode::Each, quiet: Some(QuietHours::new(from, to, zone).unwrap()) }
    }

    #[test]
    fn quiet_hours_end_by_their_own_clock() {
        let night = quiet(22 * 60, 7 * 60, "Europe/Berlin");
        for (moment, end) in [
            ("2026-01-10T20:59:59Z", None),
            ("2026-01-10T21:00:00Z", Some("2026-01-11T06:00:00Z")),
            ("2026-01-11T05:59:59Z", Some("2026-01-11T06:00:00Z")),
            ("2026-01-11T06:00:00Z", None),
            // Summer time, and the nights in which it begins and ends.
            ("2026-07-10T20:00:00Z", Some("2026-07-11T05:00:00Z")),
            ("2026-03-28T22:00:00Z", Some("2026-03-29T05:00:00Z")),
            ("2026-10-24T21:00:00Z", Some("2026-10-25T06:00:00Z")),
        ] {
            assert_eq!(night.quiet_until(at(moment)), end.map(at), "{moment}");
        }
        let noon = quiet(12 * 60, 13 * 60 + 30, "Asia/Kolkata");
        assert_eq!(noon.quiet_until(at("2026-01-10T06:30:00Z")), Some(at("2026-01-10T08:00:00Z")));
        assert_eq!(noon.quiet_until(at("2026-01-10T08:00:00Z")), None);
    }

    /// Every minute of the nights in which clocks are set: what ends lies ahead, and not for longer than a day and an hour.
    #[test]
    fn no_end_lies_behind() {
        for (zone, from, to) in [("Europe/Berlin", 60, 150), ("America/New_York", 1380, 95), ("Pacific/Apia", 0, 1439)]
        {
            let choice = quiet(from, to, zone);
            for start in
                ["2026-03-07T12:00:00Z", "2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-10-31T12:00:00Z"]
            {
                for minute in 0..1440 * 2 {
                    let now = at(start).plus(Duration::from_mins(minute));
                    let Some(end) = choice.quiet_until(now) else { continue };
                    assert!(end > now && end.since(now) <= Duration::from_hours(25), "{zone} {now} {end}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_choice_is_a_fault() {
        for (from, to, zone, field) in [
            (-1, 5, "UTC", "quiet_from"),
            (1440, 5, "UTC", "quiet_from"),
            (5, 1440, "UTC", "quiet_to"),
            (5, 5, "UTC", "quiet_to"),
            (5, 6, "Europe/Nowhere", "time_zone"),
            (5, 6, "../../etc/passwd", "time_zone"),
            (5, 6, "", "time_zone"),
        ] {
            assert_eq!(QuietHours::new(from, to, zone).unwrap_err().field, field, "{from} {to} {zone}");
        }
        assert!(MailMode::digest(14).is_err() && MailMode::digest(1441).is_err());
        assert_eq!(MailMode::digest(60), Ok(MailMode::Digest(60)));
        assert_eq!(QuietHours::new(1, 2, "europe/berlin").unwrap().parts(), (1, 2, "Europe/Berlin"));
    }
}
