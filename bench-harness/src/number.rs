//! Numbers as people read them.

/// Three or four digits that matter, thousands apart.
pub(crate) fn plain(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if !value.is_finite() => return "–".to_owned(),
        _ if size >= 100.0 || size == 0.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    grouped(&format!("{value:.decimals$}"))
}

/// All digits, thousands apart.
pub(crate) fn whole(value: u64) -> String {
    grouped(&value.to_string())
}

/// A number of things.
pub(crate) fn of(count: u32, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", whole(count.into()))
}

fn grouped(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut grouped = String::new();
    let digits = whole.trim_start_matches('-');
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

/// A time in the unit that fits: for axes.
pub(crate) fn time(us: f64) -> String {
    let (value, unit) = match us {
        _ if us >= 999_999.5 => (us / 1e6, "s"),
        _ if us >= 999.9995 => (us / 1e3, "ms"),
        _ if us >= 0.999_999_5 => (us, "µs"),
        _ => (us * 1e3, "ns"),
    };
    format!("{} {unit}", short(value))
}

/// A time to three digits, in the unit that fits: for reading while it changes.
pub(crate) fn rounded_time(us: f64) -> String {
    if us <= 0.0 || !us.is_finite() {
        return "–".to_owned();
    }
    let step = 10f64.powf(us.log10().floor() - 2.0);
    time((us / step).round() * step)
}

/// A count in the unit that fits: for axes.
pub(crate) fn count(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{} M", short(value / 1e6)),
        _ if value >= 1e4 => format!("{} k", short(value / 1e3)),
        _ => short(value),
    }
}

/// UTC, to the second.
pub(crate) fn date(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The Gregorian calendar repeats every 400 years; here years begin in March, so that leap days come last.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day_of_month:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        let check = |value: f64, expected: &str| assert_eq!(plain(value), expected);
        check(0.0, "0");
        check(0.12345, "0.123");
        check(1.2345, "1.23");
        check(12.345, "12.3");
        check(123.45, "123");
        check(1234.5, "1,234");
        check(1_234_567.0, "1,234,567");
        check(-1234.0, "-1,234");
        check(f64::NAN, "–");
        assert_eq!((of(1, "topic"), of(1000, "topic")), ("1 topic".to_owned(), "1,000 topics".to_owned()));
        assert_eq!((whole(7), whole(1_234_567)), ("7".to_owned(), "1,234,567".to_owned()));
    }

    #[test]
    fn units_fit() {
        for (us, expected) in
            [(0.5, "500 ns"), (1.0, "1 µs"), (20.0, "20 µs"), (1000.0, "1 ms"), (5e6, "5 s")]
        {
            assert_eq!(time(us), expected);
        }
        for (value, expected) in [(0.0, "0"), (500.0, "500"), (20_000.0, "20 k"), (1_500_000.0, "1.5 M")] {
            assert_eq!(count(value), expected);
        }
    }

    #[test]
    fn times_are_cut_to_three_digits() {
        for (us, expected) in
            [(41_234.0, "41.2 ms"), (999.6, "1 ms"), (0.0, "–"), (7.0, "7 µs"), (1e9, "1000 s")]
        {
            assert_eq!(rounded_time(us), expected);
        }
    }

    #[test]
    fn dates_are_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_709_251_199_999), "2024-02-29 23:59:59 UTC");
        assert_eq!(date(1_798_761_600_000), "2027-01-01 00:00:00 UTC");
        assert_eq!(date(-1000), "1969-12-31 23:59:59 UTC");
    }
}
