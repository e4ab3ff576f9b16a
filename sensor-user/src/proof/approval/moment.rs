//! Moments as people write them.

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// A moment, nanoseconds since 1970: RFC 3339 (`2026-12-01T12:00:00Z`), a date (until its end, UTC), or, with `now_ns`, so
/// much from then on: `90m`, `12h`, `7d`.
///
/// # Errors
/// What is wrong, for people.
pub fn moment(text: &str, now_ns: Option<i64>) -> Result<i64, String> {
    let wrong = || {
        let also = if now_ns.is_some() { ", 12h or 7d" } else { "" };
        format!("{text:?} is no time like 2026-12-01 or 2026-12-01T12:00:00Z{also}")
    };
    let ns = |moment: Timestamp| i64::try_from(moment.as_nanosecond()).map_err(|_| wrong());
    if let Ok(moment) = text.parse::<Timestamp>() {
        return ns(moment);
    }
    if let Ok(date) = text.parse::<Date>() {
        let end = date.tomorrow().and_then(|next| Offset::UTC.to_timestamp(next.at(0, 0, 0, 0)));
        return ns(end.map_err(|_| wrong())?);
    }
    let now = now_ns.ok_or_else(wrong)?;
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds: i64 = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let length = SignedDuration::from_secs(seconds * i64::from(number)).as_nanos();
    i64::try_from(length).ok().and_then(|length| now.checked_add(length)).ok_or_else(wrong)
}

/// A moment as it is shown: RFC 3339, in UTC, to the second.
pub fn shown(ns: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(moment) => moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "?".to_owned(),
    }
}
