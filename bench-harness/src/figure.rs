//! One figure of several runs, and how that of one target stands to that of another. Every table judges by this.

use serde::Serialize;

use crate::number;

/// Fewer runs than these say nothing about noise.
pub(crate) const ROUNDS_MIN: usize = 3;

/// One figure of several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) values: Vec<f64>,
}

/// Of one target's median to that of the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// None if the first is 0.
    ratio: Option<f64>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Higher,
    Lower,
    /// The spreads meet: another time it may be the other way round.
    Noise,
    /// There are too few runs to say.
    Unknown,
}

impl Figure {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (half, is_odd) = (sorted.len() / 2, sorted.len() % 2 == 1);
        let median = if is_odd { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Some(Self { median, min, max, values })
    }

    pub(crate) fn shown(&self) -> String {
        match self.min == self.max {
            true => number::plain(self.median),
            false => format!(
                "{} [{} … {}]",
                number::plain(self.median),
                number::plain(self.min),
                number::plain(self.max)
            ),
        }
    }

    pub(crate) fn ratio_to(&self, first: &Self) -> Ratio {
        let verdict = if self.values.len().min(first.values.len()) < ROUNDS_MIN {
            Verdict::Unknown
        } else if self.min > first.max {
            Verdict::Higher
        } else if self.max < first.min {
            Verdict::Lower
        } else {
            Verdict::Noise
        };
        Ratio { ratio: (first.median != 0.0).then(|| self.median / first.median), verdict }
    }
}

impl Ratio {
    pub(crate) fn shown(&self) -> String {
        let Some(ratio) = self.ratio.map(number::plain) else { return "–".to_owned() };
        match self.verdict {
            Verdict::Noise => format!("noise ({ratio}×)"),
            Verdict::Unknown => format!("{ratio}× ?"),
            Verdict::Higher | Verdict::Lower => format!("{ratio}×"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64]) -> Figure {
        Figure::of(values.to_vec()).unwrap()
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(figure(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(figure(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let one = figure(&[7.0]);
        assert_eq!((one.median, one.min, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Figure::of(vec![]), None);
        assert_eq!(Figure::of(vec![f64::NAN]), None);
        assert_eq!(figure(&[f64::NAN, 1.0]).values, [1.0]);
    }

    #[test]
    fn what_lies_inside_the_spread_is_noise() {
        let verdict = |other: &[f64], first: &[f64]| figure(other).ratio_to(&figure(first)).verdict;
        assert_eq!(verdict(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), Verdict::Higher);
        assert_eq!(verdict(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), Verdict::Lower);
        assert_eq!(verdict(&[3.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), Verdict::Noise);
        assert_eq!(verdict(&[2.0, 2.0, 2.0], &[1.0, 2.0, 3.0]), Verdict::Noise);
        assert_eq!(verdict(&[5.0, 6.0], &[1.0, 2.0, 3.0]), Verdict::Unknown);
        let shown = |other: &[f64], first: &[f64]| figure(other).ratio_to(&figure(first)).shown();
        assert_eq!(shown(&[5.0; 3], &[2.0; 3]), "2.50×");
        assert_eq!(shown(&[5.0; 2], &[2.0; 2]), "2.50× ?");
        assert_eq!(shown(&[2.0, 2.0, 3.0], &[2.0; 3]), "noise (1.00×)");
        assert_eq!(shown(&[5.0; 3], &[0.0; 3]), "–");
    }
}
