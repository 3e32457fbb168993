//! Figures over time, in as many points as a picture can show.
//!
//! However long a call is, a line keeps what the eye would see of it: of each column of the picture
//! the first, the lowest, the highest and the last value. No extreme is lost, and the size of a
//! picture does not grow with its call.

/// Columns that a line is divided into: about as many as the picture has pixels.
pub(super) const COLUMNS_MAX: usize = 1_000;

/// The most points of one line: four of each column.
pub(super) const POINTS_MAX: usize = 4 * COLUMNS_MAX;

/// The most bars of one count: five pixels each.
pub(super) const BARS_MAX: usize = 240;

/// The least time of one bar, in seconds: in less, a rate of 50 packets a second is noise.
const BAR_SECONDS_MIN: f64 = 0.1;

/// Beyond this, either way, a value is no measurement; and a picture could not tell.
const VALUE_MAX: f64 = 1e12;

/// Seconds since the session's birth, and a value.
pub(super) type Point = (f64, f64);

/// Values over time, as they are at points of it.
#[derive(Clone, Debug)]
pub(super) struct Series {
    end: f64,
    columns: Vec<Column>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    index: usize,
    first: Point,
    low: Point,
    high: Point,
    last: Point,
}

impl Series {
    /// No values yet, of a call of so many seconds.
    pub(super) fn new(end: f64) -> Series {
        Series { end, columns: Vec::new(), count: 0 }
    }

    /// A value; times come in their order. One that is no number is none.
    pub(super) fn add(&mut self, at: f64, value: f64) {
        if value.is_nan() {
            return;
        }
        self.count += 1;
        let point = (at, value.clamp(-VALUE_MAX, VALUE_MAX));
        let index = place(at, self.end, COLUMNS_MAX);
        match self.columns.last_mut().filter(|column| column.index >= index) {
            Some(column) => column.add(point),
            None => {
                let [first, low, high, last] = [point; 4];
                self.columns.push(Column { index, first, low, high, last });
            }
        }
    }

    /// How many values were given.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The highest value and when it came first.
    pub(super) fn highest(&self) -> Option<Point> {
        let highs = self.columns.iter().map(|column| column.high);
        highs.reduce(|most, high| if high.1 > most.1 { high } else { most })
    }

    /// The lowest value and when it came first.
    pub(super) fn lowest(&self) -> Option<Point> {
        let lows = self.columns.iter().map(|column| column.low);
        lows.reduce(|least, low| if low.1 < least.1 { low } else { least })
    }

    /// At most [`POINTS_MAX`] points, in the order of their times.
    pub(super) fn points(&self) -> Vec<Point> {
        let mut points = Vec::with_capacity(POINTS_MAX.min(4 * self.columns.len()));
        for Column { first, low, high, last, .. } in &self.columns {
            let (one, other) = if low.0 <= high.0 { (low, high) } else { (high, low) };
            points.extend([*first, *one, *other, *last]);
        }
        points.dedup();
        points
    }
}

impl Column {
    fn add(&mut self, point: Point) {
        if point.1 < self.low.1 {
            self.low = point;
        }
        if point.1 > self.high.1 {
            self.high = point;
        }
        self.last = point;
    }
}

/// What was counted in each of equal parts of the time.
#[derive(Clone, Debug)]
pub(super) struct Bars {
    seconds: f64,
    sums: Vec<f64>,
    count: u64,
    total: f64,
}

impl Bars {
    /// Nothing counted yet, in a call of so many seconds.
    pub(super) fn new(end: f64) -> Bars {
        let seconds = (end / BARS_MAX as f64).max(BAR_SECONDS_MIN);
        let len = ((end / seconds).ceil() as usize).clamp(1, BARS_MAX);
        Bars { seconds, sums: vec![0.0; len], count: 0, total: 0.0 }
    }

    /// So much at this time.
    pub(super) fn add(&mut self, at: f64, amount: f64) {
        let index = place(at, self.seconds * self.sums.len() as f64, self.sums.len());
        self.sums[index] = (self.sums[index] + amount).min(VALUE_MAX);
        self.count += 1;
        self.total += amount;
    }

    /// How often something was added.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all.
    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// The time of one bar.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Begin and height of each bar, times `scale`.
    pub(super) fn bars(&self, scale: f64) -> Vec<Point> {
        let bar = |(index, sum): (usize, &f64)| (index as f64 * self.seconds, sum * scale);
        self.sums.iter().enumerate().map(bar).collect()
    }
}

/// In which of `len` equal parts of the time it is.
fn place(at: f64, end: f64, len: usize) -> usize {
    ((at / end * len as f64) as usize).min(len - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value in the middle of each of `count` equal parts of ten seconds.
    fn series(count: usize, value: impl Fn(usize) -> f64) -> Series {
        let mut series = Series::new(10.0);
        for index in 0..count {
            series.add((index as f64 + 0.5) * 10.0 / count as f64, value(index));
        }
        series
    }

    #[test]
    fn up_to_the_limit_every_value_is_a_point_and_one_past_it_is_not() {
        // Up and down, so that no two are alike.
        let value = |index: usize| if index.is_multiple_of(2) { index as f64 + 1.0 } else { 0.0 };
        let whole = series(POINTS_MAX, value).points();
        assert_eq!(whole.len(), POINTS_MAX);
        assert!(whole.iter().enumerate().all(|(index, point)| point.1 == value(index)));
        for count in [POINTS_MAX + 1, 10 * POINTS_MAX] {
            assert!(series(count, value).points().len() <= POINTS_MAX, "{count}");
        }
    }

    #[test]
    fn no_extreme_is_lost_however_many_values_there_are() {
        let value = |index: usize| match index {
            70_001 => 9.0,
            31_337 => -3.0,
            _ => (index % 3) as f64,
        };
        let series = series(100_000, value);
        let points = series.points();
        let (high, low) = (series.highest().unwrap(), series.lowest().unwrap());
        assert_eq!((high.1, low.1, series.count()), (9.0, -3.0, 100_000));
        assert!(points.contains(&high) && points.contains(&low));
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0), "times go on");
    }

    #[test]
    fn what_is_no_number_is_no_value_and_what_is_too_large_stays_in_reach() {
        let series = series(3, |index| [f64::NAN, f64::INFINITY, -1e300][index]);
        assert_eq!(series.count(), 2);
        assert_eq!(series.highest().unwrap().1, VALUE_MAX);
        assert_eq!(series.lowest().unwrap().1, -VALUE_MAX);
    }

    #[test]
    fn bars_are_never_more_than_their_limit_and_count_everything() {
        for (end, len) in [(0.001, 1), (1.0, 10), (24.0, 240), (24.1, 240), (1e10, 240)] {
            let mut bars = Bars::new(end);
            for at in [0.0, end / 2.0, end] {
                bars.add(at, 2.0);
            }
            assert_eq!(bars.bars(1.0).len(), len, "{end} seconds");
            assert_eq!(bars.bars(1.0).iter().map(|bar| bar.1).sum::<f64>(), 6.0);
            assert_eq!((bars.count(), bars.total()), (3, 6.0));
        }
    }
}
