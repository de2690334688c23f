//! From which offset to which: what people write after `-o`, and what it means for a partition.

use std::collections::BTreeMap;

use crate::cli::client::{Client, ClientError, EARLIEST, Isolation, LATEST, Topic};

/// One `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Start(Start),
    /// Before the first record of this time or later.
    Until(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    End,
    At(i64),
    /// So many before the end.
    BeforeEnd(i64),
    /// At the first record of this time or later.
    Since(i64),
}

impl Bound {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number >= 0);
        let time =
            |digits: &str| number(digits).ok_or("expected milliseconds since 1970 after the @".to_owned());
        let start = match text {
            "beginning" | "earliest" => Start::Beginning,
            "end" | "latest" => Start::End,
            _ => match text.split_once('@') {
                Some(("s", digits)) => Start::Since(time(digits)?),
                Some(("e", digits)) => return Ok(Self::Until(time(digits)?)),
                _ => match (number(text), text.strip_prefix('-').and_then(number)) {
                    (Some(offset), _) => Start::At(offset),
                    (_, Some(count)) => Start::BeforeEnd(count),
                    _ => return Err("expected beginning, end, OFFSET, -N, s@MS or e@MS".to_owned()),
                },
            },
        };
        Ok(Self::Start(start))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    start: Start,
    until: Option<i64>,
    stops_at_end: bool,
}

/// What is still to be read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) next: i64,
    /// The first offset that is not wanted.
    pub(crate) stop: Option<i64>,
}

/// What there is of a partition, as far as it matters.
struct Found {
    earliest: i64,
    latest: i64,
    since: Option<i64>,
    until: Option<i64>,
}

impl Bounds {
    pub(crate) fn of(given: &[Bound], stops_at_end: bool) -> Result<Self, String> {
        let mut bounds = Self { start: Start::Beginning, until: None, stops_at_end };
        let (mut starts, mut ends) = (0, 0);
        for bound in given {
            match bound {
                Bound::Start(start) => (bounds.start, starts) = (*start, starts + 1),
                Bound::Until(time) => (bounds.until, ends) = (Some(*time), ends + 1),
            }
        }
        if starts > 1 || ends > 1 {
            return Err("-o: one place to begin and one e@MS at most".to_owned());
        }
        Ok(bounds)
    }

    /// What that means for each partition right now.
    pub(crate) fn resolve(
        &self,
        client: &mut Client,
        topic: &Topic,
        partitions: &[i32],
        isolation: Isolation,
    ) -> Result<BTreeMap<i32, Range>, ClientError> {
        let mut at = |timestamp: i64| -> Result<BTreeMap<i32, i64>, ClientError> {
            let asked: Vec<(i32, i64)> = partitions.iter().map(|index| (*index, timestamp)).collect();
            let found = client.offsets(topic, &asked, isolation);
            found.into_iter().map(|(index, offset)| Ok((index, offset?))).collect()
        };
        let (earliest, latest) = (at(EARLIEST)?, at(LATEST)?);
        let since = match self.start {
            Start::Since(time) => at(time)?,
            _ => BTreeMap::new(),
        };
        let until = self.until.map(&mut at).transpose()?.unwrap_or_default();
        let range = |index: &i32| {
            let found = Found {
                earliest: earliest[index],
                latest: latest[index],
                since: since.get(index).copied(),
                until: until.get(index).copied(),
            };
            (*index, self.range(&found))
        };
        Ok(partitions.iter().map(range).collect())
    }

    fn range(&self, found: &Found) -> Range {
        // -1: no record is so young.
        let or_end = |offset: Option<i64>| offset.filter(|offset| *offset >= 0).unwrap_or(found.latest);
        let next = match self.start {
            Start::Beginning => found.earliest,
            Start::End => found.latest,
            Start::At(offset) => offset,
            Start::BeforeEnd(count) => found.latest.saturating_sub(count),
            Start::Since(_) => or_end(found.since),
        };
        let until = self.until.map(|_| or_end(found.until));
        let end = self.stops_at_end.then_some(found.latest);
        let stop = until.into_iter().chain(end).min();
        Range { next: next.clamp(found.earliest, found.latest.max(found.earliest)), stop }
    }

    /// The offset that was asked for by number, if it was.
    pub(crate) fn exact(&self) -> Option<i64> {
        match self.start {
            Start::At(offset) => Some(offset),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_as_for_kcat() {
        let starts = |text, start| assert_eq!(Bound::parse(text), Ok(Bound::Start(start)), "{text}");
        starts("beginning", Start::Beginning);
        starts("earliest", Start::Beginning);
        starts("end", Start::End);
        starts("latest", Start::End);
        starts("0", Start::At(0));
        starts("42", Start::At(42));
        starts("-5", Start::BeforeEnd(5));
        starts("s@1700000000000", Start::Since(1_700_000_000_000));
        assert_eq!(Bound::parse("e@5"), Ok(Bound::Until(5)));
        for text in ["", "-", "--5", "5-", "s@", "s@-1", "s@x", "x@5", "stored", "1.5", "9223372036854775808"]
        {
            assert!(Bound::parse(text).is_err(), "{text}");
        }
    }

    fn range(
        given: &[&str],
        stops_at_end: bool,
        since: Option<i64>,
        until: Option<i64>,
    ) -> (i64, Option<i64>) {
        let given: Vec<Bound> = given.iter().map(|text| Bound::parse(text).unwrap()).collect();
        let found = Found { earliest: 10, latest: 100, since, until };
        let range = Bounds::of(&given, stops_at_end).unwrap().range(&found);
        (range.next, range.stop)
    }

    #[test]
    fn bounds_become_offsets_of_what_is_there() {
        assert_eq!(range(&[], false, None, None), (10, None));
        assert_eq!(range(&[], true, None, None), (10, Some(100)));
        assert_eq!(range(&["end"], false, None, None), (100, None));
        assert_eq!(range(&["42"], false, None, None), (42, None));
        assert_eq!(range(&["5"], false, None, None), (10, None), "gone");
        assert_eq!(range(&["500"], false, None, None), (100, None), "not there yet");
        assert_eq!(range(&["-20"], true, None, None), (80, Some(100)));
        assert_eq!(range(&["-2000"], false, None, None), (10, None));
        assert_eq!(range(&["s@7"], false, Some(33), None), (33, None));
        assert_eq!(range(&["s@7"], false, Some(-1), None), (100, None), "nothing so young");
        assert_eq!(range(&["s@7", "e@9"], false, Some(33), Some(44)), (33, Some(44)));
        assert_eq!(range(&["e@9"], true, None, Some(-1)), (10, Some(100)));
    }

    #[test]
    fn two_places_to_begin_are_refused() {
        let bounds = |given: &[&str]| {
            let given: Vec<Bound> = given.iter().map(|text| Bound::parse(text).unwrap()).collect();
            Bounds::of(&given, false)
        };
        assert!(bounds(&["end", "5"]).is_err() && bounds(&["e@1", "e@2"]).is_err());
        assert!(bounds(&["e@9", "5"]).is_ok());
    }
}
