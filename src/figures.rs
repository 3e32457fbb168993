//! Structs of figures whose fields are named once: what is counted, how two of them add up, and
//! what a monitor is told.
//!
//! [`figures!`](crate::figures!) declares such a struct. A field's type says all else of it, so
//! that a counter which is added to a struct can be forgotten in no sum and in no list.
//!
//! | type of a field | is a | two together | when its call has ended |
//! | --- | --- | --- | --- |
//! | `u64` | counter; a gauge where it says `= gauge` | the sum | stays |
//! | `Duration` | counter | the sum | stays |
//! | `usize` | gauge | the sum | stays |
//! | `bool` | gauge, 0 or 1 | whether either is | stays |
//! | `Option<Duration>`, `Option<f32>` | gauge, measured | the larger | is forgotten |
//! | another such struct | all of its figures | all of its figures | all of its figures |
//!
//! Nothing here reads a clock or keeps anything: figures are copied out of where they are counted.

use std::time::Duration;

/// One figure, as a monitor is told of it.
///
/// ```
/// use smallrtc::Stats;
/// use smallrtc::figures::{Kind, Unit, Value};
///
/// let mut told = Vec::new();
/// Stats::default().tell("calls", "", Kind::Counter, &mut |figure| told.push(figure));
/// let sent = told.iter().find(|figure| figure.name == "calls_audio_packets_sent").unwrap();
/// assert_eq!((sent.kind, sent.unit, sent.value), (Kind::Counter, Unit::Things, Some(0.0)));
/// assert_eq!(sent.help.trim(), "Audio packets handed to the wire.");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Figure {
    /// The names of the fields that lead to it, joined by underscores.
    pub name: String,
    /// What the documentation of its field says.
    pub help: &'static str,
    /// What may become of it.
    pub kind: Kind,
    /// What one of it is.
    pub unit: Unit,
    /// `None` while it was not measured.
    pub value: Option<f64>,
}

/// What may become of a figure from one reading to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It rises, and never falls.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// What one of a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// A thing: what the figure's name says.
    Things,
    /// A second.
    Seconds,
    /// A share of a whole: 0 to 1.
    Ratio,
}

/// What a field of a struct of figures may be.
pub trait Value: Sized {
    /// What a field of this type is, unless it says otherwise.
    const KIND: Kind = Kind::Gauge;

    /// The figures of two together.
    #[must_use]
    fn together(self, other: Self) -> Self;

    /// What is left of it when that which it was counted of has ended: counts stay, and what was
    /// measured of it says nothing any more.
    #[must_use]
    fn of_the_ended(self) -> Self {
        self
    }

    /// Tells each figure of it, under the name, the help and the kind of its field. A struct tells
    /// those of its own fields, whose names it begins with its own.
    fn tell(&self, name: &str, help: &'static str, kind: Kind, out: &mut dyn FnMut(Figure));
}

fn figure(name: &str, help: &'static str, kind: Kind, unit: Unit, value: Option<f64>) -> Figure {
    Figure { name: name.to_owned(), help, kind, unit, value }
}

impl Value for u64 {
    const KIND: Kind = Kind::Counter;

    fn together(self, other: u64) -> u64 {
        self + other
    }

    fn tell(&self, name: &str, help: &'static str, kind: Kind, out: &mut dyn FnMut(Figure)) {
        out(figure(name, help, kind, Unit::Things, Some(*self as f64)));
    }
}

impl Value for usize {
    /// Where there is no limit, there is none together either.
    fn together(self, other: usize) -> usize {
        self.saturating_add(other)
    }

    fn tell(&self, name: &str, help: &'static str, kind: Kind, out: &mut dyn FnMut(Figure)) {
        out(figure(name, help, kind, Unit::Things, Some(*self as f64)));
    }
}

impl Value for bool {
    fn together(self, other: bool) -> bool {
        self || other
    }

    fn tell(&self, name: &str, help: &'static str, kind: Kind, out: &mut dyn FnMut(Figure)) {
        out(figure(name, help, kind, Unit::Things, Some(f64::from(u8::from(*self)))));
    }
}

impl Value for Duration {
    const KIND: Kind = Kind::Counter;

    fn together(self, other: Duration) -> Duration {
        self + other
    }

    fn tell(&self, name: &str, help: &'static str, kind: Kind, out: &mut dyn FnMut(Figure)) {
        out(figure(name, help, kind, Unit::Seconds, Some(self.as_secs_f64())));
    }
}

impl Value for Option<Duration> {
    fn together(self, other: Option<Duration>) -> Option<Duration> {
        self.max(other)
    }

    fn of_the_ended(self) -> Option<Duration> {
        None
    }

    fn tell(&self, name: &str, help: &'static str, kind: Kind, out: &mut dyn FnMut(Figure)) {
        let seconds = self.map(|time| time.as_secs_f64());
        out(figure(name, help, kind, Unit::Seconds, seconds));
    }
}

impl Value for Option<f32> {
    fn together(self, other: Option<f32>) -> Option<f32> {
        [self, other].into_iter().flatten().reduce(f32::max)
    }

    fn of_the_ended(self) -> Option<f32> {
        None
    }

    fn tell(&self, name: &str, help: &'static str, kind: Kind, out: &mut dyn FnMut(Figure)) {
        out(figure(name, help, kind, Unit::Ratio, self.map(f64::from)));
    }
}

/// Declares a struct of figures: each field with its documentation, which a monitor is told as
/// well, and its type, a [`Value`]. The struct is a `Value` itself, and adds
/// up with `+`.
///
/// ```
/// use smallrtc::figures::Value;
///
/// smallrtc::figures! {
///     /// What a bakery counted.
///     #[derive(Clone, Copy, Debug, Default, PartialEq)]
///     pub struct Bakery {
///         /// Loaves that were sold.
///         pub sold: u64,
///         /// Loaves in the oven now.
///         pub baking: u64 = gauge,
///     }
/// }
/// let both = Bakery { sold: 2, baking: 1 } + Bakery { sold: 3, baking: 4 };
/// assert_eq!(both, Bakery { sold: 5, baking: 5 });
/// ```
#[macro_export]
macro_rules! figures {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[doc = $help:literal])* pub $field:ident: $type:ty $(= $kind:ident)?,)*
        }
    ) => {
        $(#[$about])*
        pub struct $name {
            $($(#[doc = $help])* pub $field: $type,)*
        }

        impl $crate::figures::Value for $name {
            fn together(self, other: $name) -> $name {
                $name {
                    $($field: $crate::figures::Value::together(self.$field, other.$field),)*
                }
            }

            fn of_the_ended(self) -> $name {
                $name { $($field: $crate::figures::Value::of_the_ended(self.$field),)* }
            }

            fn tell(
                &self,
                name: &str,
                _: &'static str,
                _: $crate::figures::Kind,
                out: &mut dyn FnMut($crate::figures::Figure),
            ) {
                let joint = if name.is_empty() { "" } else { "_" };
                $({
                    let kind = $crate::figures!(@kind $type $(, $kind)?);
                    let name = format!("{name}{joint}{}", stringify!($field));
                    let help = concat!("", $($help),*);
                    $crate::figures::Value::tell(&self.$field, &name, help, kind, out);
                })*
            }
        }

        impl ::std::ops::Add for $name {
            type Output = $name;

            /// The figures of two together: what was counted adds up, and of what was measured the
            /// worse of the two is taken.
            fn add(self, other: $name) -> $name {
                $crate::figures::Value::together(self, other)
            }
        }
    };
    (@kind $type:ty) => { <$type as $crate::figures::Value>::KIND };
    (@kind $type:ty, gauge) => { $crate::figures::Kind::Gauge };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::figures! {
        /// One field of each type.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        #[expect(unreachable_pub, reason = "what the macro declares is public")]
        pub struct Inner {
            /// Counted,
            /// in two lines.
            pub count: u64,
            /// Time.
            pub time: Duration,
            /// Now.
            pub now: u64 = gauge,
            /// Room.
            pub room: usize,
            /// Whether.
            pub is_so: bool,
            /// Round trip.
            pub rtt: Option<Duration>,
            /// Loss.
            pub loss: Option<f32>,
        }
    }

    crate::figures! {
        /// A struct in a struct.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        #[expect(unreachable_pub, reason = "what the macro declares is public")]
        pub struct Outer {
            /// Inside.
            pub inner: Inner,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn full() -> Inner {
        let (rtt, loss) = (Some(SECOND), Some(0.5));
        Inner { count: 1, time: SECOND, now: 2, room: 3, is_so: true, rtt, loss }
    }

    #[test]
    fn counts_add_up_and_of_measures_the_worse_is_taken_in_any_order() {
        let better = Inner { rtt: None, loss: Some(0.25), is_so: false, ..full() };
        let both = Inner { count: 2, time: 2 * SECOND, now: 4, room: 6, ..full() };
        assert_eq!([full() + better, better + full()], [both; 2]);
        let endless = Inner { room: usize::MAX, ..full() };
        assert_eq!((endless + full()).room, usize::MAX);
        let outer = Outer { inner: full() } + Outer { inner: better };
        assert_eq!(outer.inner, both, "and so does what is inside");
    }

    #[test]
    fn what_was_measured_of_the_ended_is_forgotten_and_counts_stay() {
        let ended = Inner { rtt: None, loss: None, ..full() };
        assert_eq!(full().of_the_ended(), ended);
        assert_eq!(Outer { inner: full() }.of_the_ended().inner, ended);
    }

    #[test]
    fn every_field_is_told_by_its_path_with_its_kind_and_unit() {
        let mut told = Vec::new();
        Outer { inner: full() }.tell("", "", Kind::Gauge, &mut |figure| told.push(figure));
        let told = told.iter().map(|it| (it.name.as_str(), it.help, it.kind, it.unit, it.value));
        use {Kind::*, Unit::*};
        let expected = [
            ("inner_count", " Counted, in two lines.", Counter, Things, Some(1.0)),
            ("inner_time", " Time.", Counter, Seconds, Some(1.0)),
            ("inner_now", " Now.", Gauge, Things, Some(2.0)),
            ("inner_room", " Room.", Gauge, Things, Some(3.0)),
            ("inner_is_so", " Whether.", Gauge, Things, Some(1.0)),
            ("inner_rtt", " Round trip.", Gauge, Seconds, Some(1.0)),
            ("inner_loss", " Loss.", Gauge, Ratio, Some(0.5)),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
